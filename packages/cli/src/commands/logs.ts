import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { findProject } from '../api/find.ts'
import type { Context } from '../program/command.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, plain } from '../terminal/output.ts'
import { logsStatements } from './logs-statements.ts'

interface Options {
  readonly follow?: boolean
  readonly since?: string
  readonly level?: string
  readonly request?: string
  readonly limit?: string
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const FIRST: ReadonlySet<string> = new Set(['time', 'level', 'msg', 'source'])

/** `1h`, `30m`, `2d`, or a moment as RFC 3339. */
export function sinceOf(text: string, now = Date.now()): string {
  const [, amount, unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? []
  if (amount !== undefined) return new Date(now - Number(amount) * (UNITS[unit] ?? 0)).toISOString()
  const at = Date.parse(text)
  if (Number.isNaN(at))
    throw stop('usage_wrong', { reason: `'${text}' is no time`, hint: 'Write --since 1h, 30m, 2d, or 2026-11-24T09:00:00Z.' })
  return new Date(at).toISOString()
}

/** A line of JSON for people. */
export function shown(line: string): string {
  try {
    const found = JSON.parse(line) as Record<string, unknown>
    const more = Object.entries(found)
      .filter(([name]) => !FIRST.has(name))
      .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    const source = typeof found.source === 'string' ? `${found.source}: ` : ''
    const head = `${localTime(String(found.time))} ${String(found.level).toUpperCase().padEnd(5)} ${source}${String(found.msg)}`
    return plain([head, ...more].join('  '))
  } catch {
    return plain(line)
  }
}

async function print(
  context: Context,
  { follow = false, since, level, request, limit }: Options,
  project: string | undefined,
): Promise<void> {
  const client = await context.client()
  const path = project === undefined ? '/logs' : `/projects/${(await findProject(client, project)).ref}/logs`
  const query = { since: since === undefined ? undefined : sinceOf(since), level, request_id: request, limit, follow: follow || undefined }
  const response = await client.stream('GET', path, { query })
  if (!response.body) return
  for await (const line of createInterface({ input: Readable.fromWeb(response.body as never) }))
    process.stdout.write(`${context.json ? line : shown(line)}\n`)
}

export const logs = command<Options, [project?: string]>({
  use: 'logs [project]',
  says: 'the log of the server, or of one project with its PostgreSQL',
  examples: ['sovra logs --since 1h --level warn', 'sovra logs shop --follow', 'sovra logs --request 019a-… --json'],
  flags: [
    ['--follow', 'go on with what comes, until Ctrl-C'],
    ['--since <time>', 'from then on: 1h, 30m, 2d, or a moment as RFC 3339'],
    ['--level <level>', 'this important or more', { choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] }],
    ['--request <id>', 'of one request: an error names it'],
    ['--limit <n>', 'the last so many lines', { default: '200' }],
  ],
  below: [logsStatements],
  more: '--json prints the lines as they are: JSON, one a line.',
  async run(context, options, project) {
    await print(context, options, project)
    return undefined
  },
})
