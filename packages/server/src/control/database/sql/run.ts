import type { QueryLine } from '@sovrabase/contract/database'
import { type Statement, splitStatements } from '@sovrabase/contract/statements'
import type { FieldDef } from 'pg'
import { fail } from '../../../base/errors.ts'
import { nodePg } from '../../../base/later.ts'
import type { Cluster } from '../../../runtime/engines/postgres/cluster.ts'
import { Portal } from '../portal.ts'
import { type Session, told } from '../session.ts'
import { jsonOf, textOf } from './values.ts'

/** Rows asked for at a time: bounds what a slow reader keeps in memory. Of the first nobody knows yet how large they are. */
const BATCH = 500
const FIRST_BATCH = 50

export interface RunOrder {
  readonly sql: string
  readonly params: readonly unknown[]
  readonly role: string | null
  readonly claims: Readonly<Record<string, unknown>> | null
  /** ms for all of it. */
  readonly timeout: number
  readonly readOnly: boolean
  readonly transaction: boolean
  /** Rows of each statement. */
  readonly limit: number
}

const TO_CLIENT = /^copy\b[\s\S]*\bto\s+stdout\b/i

/** Statements of an order; `invalid_request` where there is none, or parameters without a single one. */
export function statementsOf({ sql, params }: Pick<RunOrder, 'sql' | 'params'>): Statement[] {
  const statements = splitStatements(sql)
  if (statements.length === 0) throw fail('invalid_request', { reason: 'there is no statement in `sql`' })
  if (statements.some(({ text, data }) => data !== undefined || TO_CLIENT.test(text)))
    throw fail('invalid_request', { reason: 'COPY from and to the client is not for this door: use `sovra db shell`, or psql' })
  if (params.length > 0 && statements.length > 1) throw fail('invalid_request', { reason: '`params` are for a single statement' })
  return statements
}

const TYPES = `select x.ord, pg_catalog.format_type(x.oid, case when x.mod = -1 then null else x.mod end) as name
  from unnest($1::oid[], $2::integer[]) with ordinality as x(oid, mod, ord) order by 1`
/** Types of PostgreSQL itself never change. */
const FIRST_OF_PEOPLE = 16_384
const known = new Map<string, string>()

/** Names of columns' types. A type made in the transaction under way is not visible to others: `???`, as PostgreSQL writes it. */
async function typesOf(cluster: Cluster, fields: readonly FieldDef[]): Promise<string[]> {
  const keyOf = ({ dataTypeID, dataTypeModifier }: FieldDef) => `${dataTypeID}/${dataTypeModifier}`
  if (fields.every((field) => known.has(keyOf(field)))) return fields.map((field) => known.get(keyOf(field)) ?? '')
  const values = [fields.map(({ dataTypeID }) => dataTypeID), fields.map(({ dataTypeModifier }) => dataTypeModifier)]
  const { rows } = await cluster.admin((client) => client.query<{ name: string }>(TYPES, values))
  for (const [i, field] of fields.entries())
    if (field.dataTypeID < FIRST_OF_PEOPLE && known.size < 10_000) known.set(keyOf(field), rows[i]?.name ?? '???')
  return fields.map((_, i) => rows[i]?.name ?? '???')
}

/**
 * Before each statement of a read-only order, where a COMMIT or a new mode may have undone it. The query itself takes a snapshot, after which
 * PostgreSQL refuses to make a transaction writable.
 */
async function stillReadOnly(session: Session): Promise<void> {
  const [row] = await session.query<{ mode: string }>(`select pg_catalog.current_setting('transaction_read_only') as mode`)
  if (session.status !== 'T' || row?.mode !== 'on')
    throw fail('invalid_request', {
      reason: 'a statement ended the read-only transaction: BEGIN, COMMIT and the like are not for read-only SQL',
    })
}

async function* runOne(session: Session, order: RunOrder, statement: Statement, index: number): AsyncGenerator<QueryLine> {
  const started = performance.now()
  const portal = new Portal(statement.text, order.params.map(textOf), Math.min(FIRST_BATCH, order.limit + 1))
  session.client.query(portal)
  let sent = 0
  let batch = await portal.batch
  const { fields } = portal
  if (fields.length > 0) {
    const types = await typesOf(session.cluster, fields)
    yield { type: 'columns', statement: index, columns: fields.map(({ name }, i) => ({ name, type: types[i] ?? '???' })) }
  }
  let truncated = false
  for (;;) {
    const rows = batch.rows.slice(0, order.limit - sent)
    truncated = rows.length < batch.rows.length
    sent += rows.length
    const json = rows.map((row) => row.map((cell, i) => jsonOf(cell, fields[i]?.dataTypeID ?? 0)))
    if (json.length > 0) yield { type: 'rows', statement: index, rows: json }
    if (truncated || batch.command !== null) break
    batch = await portal.more(Math.min(BATCH, order.limit - sent + 1))
  }
  if (batch.command === null) await portal.stop()
  const command = batch.command ?? 'SELECT'
  const touched = Number(/(\d+)$/.exec(command)?.[1] ?? 0)
  yield {
    ...{ type: 'done', statement: index, command: command.replace(/[ \d]+$/, ''), truncated },
    ...{ row_count: fields.length > 0 ? sent : touched, ms: Math.round((performance.now() - started) * 1000) / 1000 },
  }
}

/** Who it runs as, for the whole session. */
export async function become(session: Session, { role, claims }: Pick<RunOrder, 'role' | 'claims'>): Promise<void> {
  if (claims !== null)
    await session.query(`select pg_catalog.set_config('request.jwt.claims', $1, false)`, [
      JSON.stringify({ role: role ?? 'postgres', ...claims }),
    ])
  if (role !== null && role !== 'postgres') await session.query(`set role ${nodePg().escapeIdentifier(role)}`)
}

/** Runs the statements, and says line by line what they answer. Rejects with `sql_failed`; nothing of a transaction is then kept. */
export async function* runAll(session: Session, order: RunOrder, statements: readonly Statement[]): AsyncGenerator<QueryLine> {
  await become(session, order)
  const together = order.readOnly || (order.transaction && statements.length > 1)
  if (together) await session.query(order.readOnly ? 'begin read only' : 'begin')
  for (const [index, statement] of statements.entries()) {
    if (order.readOnly) await stillReadOnly(session)
    try {
      yield* runOne(session, order, statement, index)
    } catch (error) {
      throw told(error, { sql: order.sql, start: statement.start, statement: index })
    }
  }
  if (together && session.status !== 'I') await session.query(order.readOnly ? 'rollback' : 'commit')
}
