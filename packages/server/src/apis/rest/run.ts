import { fail, isSovraError, SovraError } from '../../base/errors.ts'
import { asRole, asRoleTransaction, type Identity } from '../../runtime/engines/postgres/as-role.ts'
import type { CatalogueHolder } from '../../runtime/engines/postgres/catalogue/holder.ts'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import { staleStates } from '../../runtime/engines/postgres/errors.ts'
import { fieldsOfError } from '../../runtime/engines/postgres/wire/errors.ts'
import type { Gone, RunOptions } from '../../runtime/engines/postgres/wire/job.ts'
import type { PipelinePool } from '../../runtime/engines/postgres/wire/pool.ts'
import type { Result } from '../../runtime/engines/postgres/wire/result.ts'
import type { Transaction } from '../../runtime/engines/postgres/wire/transaction.ts'
import type { Preparation } from './before.ts'
import { bind, type Param } from './plan/sql.ts'
import { type Plan, RESULT } from './plan/types.ts'

/** What an awake project offers the API. */
export interface Database {
  readonly pool: PipelinePool
  readonly catalogue: CatalogueHolder
  /** Over its disk quota: only reads and DELETE are done. */
  readonly full?: boolean
  /** MiB of its quota. */
  readonly spec?: { readonly disk: number }
}

/** The one row that a plan's statement answered. */
export interface Row {
  readonly body: Buffer | null
  readonly page: number
  readonly total: number | null
  readonly location: string | null
  readonly inserted: number | null
  readonly headers: string | null
  readonly status: string | null
}

export const NO_ROW: Row = { body: null, page: 0, total: null, location: null, inserted: null, headers: null, status: null }
const number = (text: string | null): number | null => (text === null ? null : Number(text))

export function rowOf(result: Result, plan: Plan): Row {
  // A plan is not one row but its lines.
  if (plan.media.kind === 'plan')
    return { ...NO_ROW, body: Buffer.from(result.values.map((line) => line?.toString('utf8') ?? '').join('\n')) }
  return {
    body: result.bytes(0, RESULT.body),
    page: Number(result.text(0, RESULT.page) ?? '0'),
    total: number(result.text(0, RESULT.total)),
    location: result.text(0, RESULT.location),
    inserted: number(result.text(0, RESULT.inserted)),
    headers: result.text(0, RESULT.headers),
    status: result.text(0, RESULT.status),
  }
}

/** Throws disk_quota_exceeded for what would need more room than there is. */
export function checkRoom(database: Database, plan: Plan): void {
  if (database.full && !plan.readOnly && plan.action !== 'delete') throw fail('disk_quota_exceeded', { limit: database.spec?.disk ?? 0 })
}

/** A planned request, and as whom and how it is run. */
export interface Running {
  readonly identity: Identity
  readonly plan: Plan
  readonly values: readonly string[]
  readonly body: string
  readonly signal: () => Gone
  readonly preparation: Preparation
  /** What it writes is checked, answered and undone. */
  readonly undone: boolean
}

function limitsOf({ signal, preparation: { timeout, isolation } }: Running): RunOptions {
  const limits = timeout === null ? { signal } : { signal, timeout }
  return isolation === null ? limits : { ...limits, isolation }
}

/** Runs a planned request in one round trip and one transaction; what a guard of the plan refuses is rolled back with it. */
export async function runPlan(pool: PipelinePool, running: Running): Promise<Row> {
  const { identity, plan, values, body, preparation } = running
  const { before, isolation } = preparation
  if (running.undone && !plan.readOnly) return rolledBack(pool, running)
  // Only a transaction that is begun as such has an isolation of its own.
  if (isolation !== null) return isolated(pool, running)
  const limits = limitsOf(running)
  const run = (sql: string, params: readonly Param[], readOnly: boolean) => {
    const statement = { sql, params: bind(params, values, body) }
    return asRole(pool, identity, before.length === 0 ? statement : { ...statement, before }, { ...limits, readOnly })
  }
  const row = rowOf(await run(plan.sql, plan.params, plan.readOnly), plan)
  if (plan.explain === null || !wantsPlanned(plan, row)) return row
  const explained = await run(plan.explain.sql, plan.explain.params, true)
  return { ...row, total: plannedRows(explained, row.total) }
}

function isolated(pool: PipelinePool, running: Running): Promise<Row> {
  const { identity, plan, values, body } = running
  const run = async (tx: Transaction) => {
    for (const step of running.preparation.before) await tx.query(step)
    const row = rowOf(await tx.query({ sql: plan.sql, params: bind(plan.params, values, body) }), plan)
    if (plan.explain === null || !wantsPlanned(plan, row)) return row
    const explained = await tx.query({ sql: plan.explain.sql, params: bind(plan.explain.params, values, body) })
    return { ...row, total: plannedRows(explained, row.total) }
  }
  return asRoleTransaction(pool, identity, run, { ...limitsOf(running), readOnly: plan.readOnly })
}

class RolledBack {
  readonly row: Row
  constructor(row: Row) {
    this.row = row
  }
}

/** Everything is done and checked, deferred constraints too, then undone. */
async function rolledBack(pool: PipelinePool, running: Running): Promise<Row> {
  const { identity, plan, values, body } = running
  const run = async (tx: Transaction) => {
    for (const step of running.preparation.before) await tx.query(step)
    const row = rowOf(await tx.query({ sql: plan.sql, params: bind(plan.params, values, body) }), plan)
    await tx.query({ sql: 'set constraints all immediate', params: [] })
    throw new RolledBack(row)
  }
  try {
    return await asRoleTransaction(pool, identity, run, limitsOf(running))
  } catch (thrown) {
    if (thrown instanceof RolledBack) return thrown.row
    throw thrown
  }
}

export const wantsPlanned = (plan: Plan, row: Row): boolean =>
  plan.prefer.count === 'planned' || (plan.maxRows !== null && row.total !== null && row.total > plan.maxRows)

export function plannedRows(result: Result, counted: number | null): number {
  const [first] = JSON.parse(result.text(0, 0) ?? '[]') as { Plan?: { 'Plan Rows'?: number } }[]
  const rows = first?.Plan?.['Plan Rows']
  if (rows === undefined) throw fail('internal', {}, { cause: 'EXPLAIN answered no number of rows' })
  return Math.max(rows, counted ?? 0)
}

/** Those of settings in the database too: `alter role … set pgrst.…` tells nobody. */
const STALE_CODES: ReadonlySet<string> = new Set([
  'PGRST106',
  'PGRST107',
  'PGRST123',
  'PGRST200',
  'PGRST201',
  'PGRST202',
  'PGRST203',
  'PGRST204',
  'PGRST205',
  'PGRST108',
  'PGRST120',
])

function mayBeStale(error: unknown): boolean {
  if (isSovraError(error) && STALE_CODES.has(error.code)) return true
  const fields = fieldsOfError(error)
  return fields !== null && staleStates.has(fields.sqlstate)
}

/** The catalogue, where it could be held. Throws statement_unsupported. */
export function wholeOf({ current }: CatalogueHolder): Catalogue {
  if (current.cut) throw fail('statement_unsupported', { reason: 'the schema of this project is too large for it' })
  return current
}

/**
 * Tries `attempt` with the current catalogue. Before an error is answered that an old catalogue could have caused, it is read once more,
 * and where it changed the request is tried again: nothing was written by the first try.
 */
export async function withFreshCatalogue<R>(holder: CatalogueHolder, attempt: (catalogue: Catalogue) => Promise<R>): Promise<R> {
  const seen = wholeOf(holder)
  try {
    return await attempt(seen)
  } catch (error) {
    if (!(error instanceof SovraError) || !mayBeStale(error) || !(await holder.fresh(seen))) throw error
  }
  return attempt(wholeOf(holder))
}
