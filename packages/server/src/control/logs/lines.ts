import { PassThrough } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { fail } from '../../base/errors.ts'
import { type LineFilter, type LogFiles, passes } from '../../base/log-files.ts'
import type { Control } from '../context.ts'
import { clusterLines } from './cluster.ts'

export interface Wanted {
  readonly since?: string
  readonly level?: string
  readonly request_id?: string
  readonly limit?: number
  readonly follow?: boolean
}

const TAIL = 1 << 20
/** ms between two looks at the log of a cluster. */
const LOOK = 1_000
/** Bytes that a follower may be behind; then it is ended, so that it cannot fill the memory. */
const BEHIND = 4 << 20
const LIMIT = 200

const timeOf = (line: string) => /"time":"([^"]*)"/.exec(line)?.[1] ?? ''

const filterOf = ({ since, level, request_id }: Wanted, project: string | undefined): LineFilter => ({
  ...(since === undefined ? {} : { since: Date.parse(since) }),
  ...(level === undefined ? {} : { level }),
  ...(project === undefined ? {} : { project }),
  ...(request_id === undefined ? {} : { request: request_id }),
})

/** What the clusters of a project have said, as lines of JSON. */
async function ofClusters(control: Control, project: string, filter: LineFilter): Promise<string[]> {
  const services = await control.services.list(control.db, { projects: [project] })
  const texts = await Promise.all(
    services.map(async ({ driver, engine, volume }) => {
      const text = await control.drivers.get(driver)?.log?.(volume, TAIL)
      return clusterLines(text ?? '', project, engine)
    }),
  )
  return texts.flatMap((lines) => lines.map((line) => JSON.stringify(line))).filter((line) => passes(line, filter))
}

interface Following {
  readonly filter: LineFilter
  /** The moment of the newest line that was sent. */
  readonly last: string
  readonly send: (line: string) => void
}

/** Files of others tell nobody: looked at each second, while somebody follows. */
function followClusters(control: Control, project: string, { filter, last, send }: Following): () => void {
  let newest = last
  let looking = false
  const timer = setInterval(async () => {
    if (looking) return
    looking = true
    try {
      for (const line of await ofClusters(control, project, filter)) {
        if (timeOf(line) <= newest) continue
        newest = timeOf(line)
        send(line)
      }
    } catch (error) {
      control.log.warn({ err: error, project }, 'could not read the log of a cluster')
    } finally {
      looking = false
    }
  }, LOOK)
  return () => clearInterval(timer)
}

interface Past {
  /** Of the server. */
  readonly own: readonly string[]
  /** Of the project's clusters. */
  readonly others: readonly string[]
  /** Both, in the order of their time. */
  readonly all: readonly string[]
}

async function past(control: Control, logs: LogFiles, { limit = LIMIT }: Wanted, filter: LineFilter): Promise<Past> {
  const { project } = filter
  const [own, others] = await Promise.all([
    logs.read(filter, limit),
    project === undefined ? Promise.resolve([]) : ofClusters(control, project, filter),
  ])
  if (others.length === 0) return { own, others, all: own }
  return { own, others, all: [...own, ...others].sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1)).slice(-limit) }
}

const into = (out: PassThrough) => (line: string) => {
  if (out.writableLength > BEHIND) out.destroy()
  else out.write(`${line}\n`)
}

/** Lines that were there, and with `follow` those that come, until the caller or the server ends it. Throws `logs_off`. */
export async function answerLines(
  control: Control,
  reply: FastifyReply,
  wanted: Wanted,
  project: string | undefined,
): Promise<FastifyReply> {
  const { logs } = control
  if (!logs) throw fail('logs_off')
  const filter = filterOf(wanted, project)
  const out = new PassThrough()
  reply.header('content-type', 'application/x-ndjson')
  if (wanted.follow !== true) {
    const { all } = await past(control, logs, wanted, filter)
    for (const line of all) out.write(`${line}\n`)
    return reply.send(out.end())
  }
  // Heard from now on, and sent after what is in the files.
  const early: string[] = []
  let send = (line: string): void => void early.push(line)
  const deaf = logs.follow((line) => passes(line, filter) && send(line.trimEnd()))
  const { own, others, all } = await past(control, logs, wanted, filter)
  for (const line of all) out.write(`${line}\n`)
  send = into(out)
  const known = new Set(own.slice(-early.length - 1))
  for (const line of early) if (!known.has(line)) send(line)
  const stop = project === undefined ? () => {} : followClusters(control, project, { filter, last: timeOf(others.at(-1) ?? ''), send })
  const finish = control.onDrain(() => out.end())
  out.once('close', () => {
    deaf()
    stop()
    finish()
  })
  return reply.send(out)
}
