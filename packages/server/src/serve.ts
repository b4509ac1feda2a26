import { join } from 'node:path'
import { banner } from './banner.ts'
import { type Log, makeLog, silentLog } from './base/log.ts'
import { type LogFiles, openLogFiles } from './base/log-files.ts'
import type { LogExport } from './base/log-otlp.ts'
import { withShownPaths } from './base/start-error.ts'
import { trimWhenIdle } from './base/trim.ts'
import type { Config, LoadedConfig } from './config.ts'
import { DEMO_USER } from './control/demo/demo.ts'
import { rehearse } from './foundation.ts'
import { issuersOf, projectUrl } from './gateway/urls.ts'
import { type KeeperOptions, openSeat } from './keeper.ts'
import { type Node, startNode } from './node.ts'
import { revealApiKeys } from './realms/api-keys.ts'
import { currentKey, readRealmKeys } from './realms/keys.ts'
import { signToken } from './realms/tokens.ts'

const HOUR = 3600

/** What the banner shows of the demo: its anon key, and a token of the demo's user for an hour. */
async function demoOf({ control, demoRef }: Node) {
  if (demoRef === null) return null
  const now = Date.now()
  const keys = await revealApiKeys(control.db, control.vault, demoRef, now)
  const anonKey = keys.find((key) => key.kind === 'anon')?.text ?? ''
  const signing = currentKey(await readRealmKeys(control.db, control.vault, demoRef, now), 'legacy')
  const iat = Math.floor(now / 1000)
  const claims = {
    iss: issuersOf(control.addressing, demoRef)[0],
    aud: 'authenticated',
    sub: DEMO_USER,
    role: 'authenticated',
    iat,
    exp: iat + HOUR,
  }
  return { url: projectUrl(control.addressing, demoRef), anonKey, userToken: signToken(claims, { alg: 'HS256', key: signing.key }) }
}

interface OpenLog {
  readonly log: Log
  readonly logs: LogFiles | null
  /** Null where the log is not sent to a collector. */
  readonly sent: LogExport | null
}

async function openExport({ log: { otlp } }: Config, version: string, say: () => Log): Promise<LogExport | null> {
  if (otlp.url === null) return null
  // Only who wants it loads it.
  const { exportLogs, headersOf } = await import('./base/log-otlp.ts')
  return exportLogs({
    url: otlp.url,
    headers: headersOf(otlp.headers),
    caFile: otlp.ca_file,
    version,
    onChange(state, error) {
      if (state === 'well') say().info('the collector takes the log again')
      else say().warn({ err: error }, 'the collector does not take the log: it is in the files only')
    },
  })
}

/** On standard output, in files and to a collector; without the files where they cannot be written. */
async function openLog(config: Config, dir: string, version: string): Promise<OpenLog> {
  const { level, format, stdout, file_size, total_size } = config.log
  let logs: LogFiles | null = null
  let problem: unknown
  try {
    logs = openLogFiles({ dir, size: file_size, total: total_size, keep: config.limits.retention.logs })
  } catch (error) {
    problem = error
  }
  const pretty = format === 'pretty' || (format === 'auto' && process.stdout.isTTY)
  const sent = await openExport(config, version, () => log)
  const to = { ...(logs ? { files: logs } : {}), ...(sent ? { sent } : {}) }
  const log = makeLog({ level, pretty, ...to, stdout: stdout === 'on' || logs === null })
  if (problem) log.warn({ err: problem, dir }, 'the log is not written to files')
  return { log, logs, sent }
}

/** The server itself, under a keeper or alone. */
export async function serve({ config, warnings, path: configPath }: LoadedConfig, options: KeeperOptions, version: string): Promise<void> {
  // An heir has no log of its own yet: it says by its end why it does not take over.
  const seat = await openSeat(options, (dataDir) => rehearse(config, dataDir, silentLog))
  const { log, logs, sent } = await openLog(config, join(seat.dataDir, 'log'), version)
  for (const warning of warnings) log.warn(warning)
  let node: Node
  try {
    node = await startNode({ config, configPath, seat, log, logs, version, demo: process.env.SOVRABASE_DEMO !== 'off' })
  } catch (error) {
    await seat.close()
    throw withShownPaths(error, seat)
  }
  seat.announce(node.url)
  trimWhenIdle()
  const end = (closing: Promise<void>) =>
    void closing
      .then(() => seat.close())
      .then(() => sent?.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ err: error }, 'could not stop cleanly')
          process.exit(1)
        },
      )
  seat.onStop((signal) => {
    log.info({ signal }, 'draining')
    end(node.close())
  })
  seat.onHandOver((bequeath) => {
    log.info('another server of this keeper takes over: draining')
    end(
      node
        .handOver()
        .then(bequeath)
        .then(() => node.close(true)),
    )
  })
  // Under a keeper the server may know the directory by another path than people do.
  const made = node.foundation.secrets.made.map((file) => file.replace(seat.dataDir, seat.shownDataDir))
  const text = banner({ node, version, dataDir: seat.shownDataDir, made, wire: node.control.wire(), demo: await demoOf(node) })
  process.stdout.write(text)
}
