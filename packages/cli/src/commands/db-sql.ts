import { readFileSync } from 'node:fs'
import type { Explained, QueryAnswer, QueryResult } from '@sovrabase/contract/database'
import { findProject } from '../api/find.ts'
import { inText, showingWhere } from '../database/told.ts'
import { type Answer, type Context, command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { type Cell, count, plain, table } from '../terminal/output.ts'
import { allOfStdin } from '../terminal/prompt.ts'

/** The SQL that a command is given, as an argument or a file. */
export async function readSql(sql: string | undefined, file: string | undefined, use: string): Promise<string> {
  if ((sql === undefined) === (file === undefined))
    throw stop('usage_wrong', { reason: 'Say which SQL to run', hint: `Write sovra db ${use} PROJECT 'select 1', or -f FILE.` })
  if (file === undefined) return sql ?? ''
  if (file === '-') return allOfStdin()
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw stop('usage_wrong', {
      reason: `${file} cannot be read: ${(error as Error).message}`,
      hint: 'Name a file with SQL, or - for standard input.',
    })
  }
}

interface Options {
  readonly file?: string
  readonly param?: string[]
  readonly role?: string
  readonly claims?: string
  readonly limit: string
  readonly timeout: string
  readonly readOnly?: boolean
  readonly explain?: boolean
  readonly analyze?: boolean
  readonly lines?: boolean
}

function claimsOf(text: string | undefined): object | undefined {
  if (text === undefined) return undefined
  try {
    const found: unknown = JSON.parse(text)
    if (typeof found === 'object' && found !== null) return found
  } catch {
    // Told below.
  }
  throw stop('usage_wrong', { reason: 'The claims are no JSON object', hint: `--claims '{"sub":"…"}'` })
}

function whole(text: string, name: string): number {
  if (/^\d{1,8}$/.test(text)) return Number(text)
  throw stop('usage_wrong', { reason: `--${name} is a whole number`, hint: `--${name} 100` })
}

const cellOf = (value: unknown): Cell => (value === null ? 'NULL' : typeof value === 'object' ? JSON.stringify(value) : (value as Cell))
const NUMERIC = /^(smallint|integer|bigint|oid|real|double precision|numeric)/

function render({ command: tag, columns, rows, row_count, truncated }: QueryResult): string {
  if (columns.length === 0) return row_count > 0 ? `${tag} ${row_count}` : tag
  const numeric = new Set(columns.flatMap(({ type }, i) => (NUMERIC.test(type) ? [i] : [])))
  const shown = table(
    columns.map(({ name }) => plain(name)),
    rows.map((row) => row.map(cellOf)),
    numeric,
  )
  return `${shown}\n(${count(row_count, 'row')}${truncated ? '; there are more: --limit' : ''})`
}

async function stream(context: Context, ref: string, body: object): Promise<Answer> {
  const client = await context.client()
  const headers = { accept: 'application/x-ndjson' }
  const response = await client.stream('POST', `/projects/${ref}/database/query`, { body, headers })
  let last = ''
  for await (const chunk of response.body ?? []) {
    const text = Buffer.from(chunk).toString()
    last = (last + text).slice(-1_000)
    process.stdout.write(text)
  }
  return { data: undefined, text: '', exit: last.trimEnd().split('\n').at(-1)?.startsWith('{"type":"error"') ? 1 : 0 }
}

export const sql = command<Options, [project: string, sql?: string]>({
  use: 'sql <project> [sql]',
  says: 'run SQL through the control API: as a role, read-only, explained',
  examples: [
    "sovra db sql demo 'select * from todos where id = $1' --param 7",
    `sovra db sql demo 'select * from todos' --role authenticated --claims '{"sub":"5f…"}'`,
    "sovra db sql demo 'select * from todos where done' --explain --analyze",
  ],
  flags: [
    ['-f, --file <file>', 'read the SQL from this file; - is standard input'],
    ['--param <value>', '$1, then $2 …; of a single statement', { many: true }],
    ['--role <role>', 'who it runs as: anon, authenticated, service_role … Without it postgres'],
    ['--claims <json>', 'what auth.jwt() answers'],
    ['--limit <n>', 'most rows of each statement', { default: '1000' }],
    ['--timeout <seconds>', 'for all of it', { default: '60' }],
    ['--read-only', 'refuse whatever would write'],
    ['--explain', 'show the plan instead'],
    ['--analyze', 'with --explain: run it, and roll back what it wrote'],
    ['--lines', 'columns and rows as lines of JSON, as they come; --limit 0 is all'],
  ],
  more: `Needs HTTP only, where \`sovra db exec\` needs the listener of PostgreSQL's protocol. Several statements are one transaction.
--json: columns with their types, and rows.`,
  async run(context, options, given, text) {
    const { param: params, role, explain, analyze } = options
    const order = {
      ...{ sql: await readSql(text, options.file, 'sql'), timeout: whole(options.timeout, 'timeout') * 1000 },
      ...{ params, role, claims: claimsOf(options.claims) },
    }
    const client = await context.client()
    const { ref } = await findProject(client, given)
    if (explain) {
      const asked = client.request<Explained>('POST', `/projects/${ref}/database/explain`, { body: { ...order, analyze } })
      const found = await showingWhere(asked, inText(order.sql))
      return { data: found, text: [plainLines(found.text), ...found.notes.map((note) => `note: ${plain(note)}`)].join('\n') }
    }
    const body = { ...order, read_only: options.readOnly, limit: whole(options.limit, 'limit') }
    if (options.lines) return stream(context, ref, body)
    const asked = client.request<QueryAnswer>('POST', `/projects/${ref}/database/query`, { body })
    const answer = await showingWhere(asked, inText(order.sql))
    for (const { severity, message } of answer.notices) context.note(`${severity}: ${plain(message)}`)
    return { data: answer, text: answer.results.map(render).join('\n\n') }
  },
})

const plainLines = (text: string): string => text.split('\n').map(plain).join('\n')
