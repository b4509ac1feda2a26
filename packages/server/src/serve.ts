import { banner } from './banner.ts'
import { makeLog } from './base/log.ts'
import type { LoadedConfig } from './config.ts'
import { DEMO_USER } from './control/demo/demo.ts'
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

/** The server itself, under a keeper or alone. */
export async function serve({ config, warnings, path: configPath }: LoadedConfig, options: KeeperOptions, version: string): Promise<void> {
  const { level, format } = config.log
  const log = makeLog({ level, pretty: format === 'pretty' || (format === 'auto' && process.stdout.isTTY) })
  for (const warning of warnings) log.warn(warning)
  const seat = await openSeat(options)
  let node: Node
  try {
    node = await startNode({ config, configPath, seat, log, version, demo: process.env.SOVRABASE_DEMO !== 'off' })
  } catch (error) {
    await seat.close()
    throw error
  }
  seat.announce(node.url)
  seat.onStop((signal) => {
    log.info({ signal }, 'draining')
    node
      .close()
      .then(() => seat.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ err: error }, 'could not stop cleanly')
          process.exit(1)
        },
      )
  })
  // Under a keeper the server may know the directory by another path than people do.
  const made = node.foundation.secrets.made.map((file) => file.replace(seat.dataDir, seat.shownDataDir))
  const text = banner({ node, version, dataDir: seat.shownDataDir, made, wire: node.control.wire(), demo: await demoOf(node) })
  process.stdout.write(text)
}
