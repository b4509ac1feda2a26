import type { Advice, Extensions, Statistics } from '@sovrabase/contract/database'
import { findProject } from '../api/find.ts'
import { type Context, command } from '../program/command.ts'
import { count, plain, table } from '../terminal/output.ts'

const LEVELS = ['error', 'warning', 'info'] as const

async function ask<T>(context: Context, given: string, what: string): Promise<T> {
  const client = await context.client()
  return client.request<T>('GET', `/projects/${(await findProject(client, given)).ref}/database/${what}`)
}

interface AdvisorOptions {
  readonly area?: string
  readonly failOn: (typeof LEVELS)[number] | 'never'
}

export const advisors = command<AdvisorOptions, [project: string]>({
  use: 'advisors <project>',
  says: 'what should be looked at: security and speed of the schema',
  examples: ['sovra db advisors shop', 'sovra db advisors shop --area security --fail-on error'],
  flags: [
    ['--area <area>', 'only these', { choices: ['security', 'speed'] }],
    ['--fail-on <level>', 'exit code 1 where there is one of this level, or worse', { default: 'warning', choices: [...LEVELS, 'never'] }],
  ],
  more: 'For CI: exit code 1 when something is found of the level `--fail-on`, or a worse one.',
  async run(context, { area, failOn }, given) {
    const { items } = await ask<{ items: Advice[] }>(context, given, 'advisors')
    const found = items.filter((item) => area === undefined || item.area === area)
    const bad = failOn === 'never' ? [] : found.filter(({ level }) => LEVELS.indexOf(level) <= LEVELS.indexOf(failOn))
    const text = found.flatMap(({ level, code, object, message, fix }) => [
      `${level.padEnd(7)}  ${code}  ${plain(object)}`,
      `         ${plain(message)}`,
      `         fix: ${plain(fix)}`,
    ])
    const closing = LEVELS.map((level) => `${found.filter((item) => item.level === level).length} ${level}`).join(', ')
    return { data: found, text: [...text, `${closing}.`].join('\n'), exit: bad.length > 0 ? 1 : 0 }
  },
})

export const extensions = command<object, [project: string]>({
  use: 'extensions <project>',
  says: 'extensions that can be created, and what to use for those that cannot',
  examples: ['sovra db extensions shop'],
  async run(context, _options, given) {
    const found = await ask<Extensions>(context, given, 'extensions')
    const rows = found.items.map(({ name, version, installed, schema, says }) => [name, installed ?? '', schema ?? '', version, says])
    const others = found.unavailable.map(({ name, instead }) => [name, instead])
    const text = `${table(['EXTENSION', 'INSTALLED', 'SCHEMA', 'VERSION', 'SAYS'], rows)}\n\n${table(['NOT HERE', 'INSTEAD'], others)}`
    return { data: found, text }
  },
})

const KIB = 1024
const size = (bytes: number): string => (bytes < KIB * KIB ? `${Math.ceil(bytes / KIB)} KiB` : `${(bytes / KIB / KIB).toFixed(1)} MiB`)
const percent = (ratio: number | null): string => (ratio === null ? '' : `${(ratio * 100).toFixed(1)} %`)
const SHOWN = 10

export const stats = command<object, [project: string]>({
  use: 'stats <project>',
  says: 'sizes, cache, sessions, locks, and the statements that took the most time',
  examples: ['sovra db stats shop', 'sovra db stats shop --json'],
  more: '--json has up to 100 of each.',
  async run(context, _options, given) {
    const found = await ask<Statistics>(context, given, 'statistics')
    const { database, tables, indexes, connections, locks, statements } = found
    const numeric = (...columns: number[]) => new Set(columns)
    const parts = [
      `Database: ${size(database.size)}, ${percent(database.cache_hit) || 'nothing'} of what was read came from the cache, ${count(database.deadlocks, 'deadlock')}.`,
      table(
        ['TABLE', 'ROWS', 'SIZE', 'INDEXES', 'SEQ SCANS', 'INDEX SCANS', 'CACHE'],
        tables
          .slice(0, SHOWN)
          .map((t) => [
            `${t.schema}.${t.name}`,
            t.rows,
            size(t.size),
            size(t.index_size),
            t.seq_scans,
            t.index_scans,
            percent(t.cache_hit),
          ]),
        numeric(1, 2, 3, 4, 5, 6),
      ),
      table(
        ['INDEX', 'OF', 'SIZE', 'SCANS'],
        indexes.slice(0, SHOWN).map((i) => [i.name, i.table, size(i.size), i.scans]),
        numeric(2, 3),
      ),
      table(
        ['ROLE', 'STATE', 'SESSIONS'],
        connections.items.map((c) => [c.role, c.state, c.count]),
        numeric(2),
      ),
      ...(locks.length > 0
        ? [
            table(
              ['WAITING', 'FOR', 'OBJECT', 'MODE', 'MS'],
              locks.map((l) => [l.pid, l.waits_for.join(' '), l.object, l.mode, l.waiting_ms]),
            ),
          ]
        : []),
      statements.available
        ? table(
            ['CALLS', 'TOTAL MS', 'MEAN MS', 'ROLE', 'STATEMENT'],
            statements.items
              .slice(0, SHOWN)
              .map((s) => [s.calls, s.total_ms, s.mean_ms, s.role, s.statement.replace(/\s+/g, ' ').slice(0, 100)]),
            numeric(0, 1, 2),
          )
        : `No statements are counted. ${statements.hint ?? ''}`,
    ]
    return { data: found, text: parts.join('\n\n') }
  },
})
