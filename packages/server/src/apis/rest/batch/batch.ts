import { fail } from '../../../base/errors.ts'
import { asGateway, become, type Identity } from '../../../runtime/engines/postgres/as-role.ts'
import type { Catalogue } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { fieldsOfError, isStalePlan } from '../../../runtime/engines/postgres/wire/errors.ts'
import { FORGET, type Gone, type Isolation, type RunOptions, type Statement } from '../../../runtime/engines/postgres/wire/job.ts'
import type { Transaction } from '../../../runtime/engines/postgres/wire/transaction.ts'
import { parsePrefer } from '../parse/headers.ts'
import { bind } from '../plan/sql.ts'
import type { Plan } from '../plan/types.ts'
import { type Asked, header, identityOf, prepare, schemaOf } from '../prepare.ts'
import { answerOf } from '../reply.ts'
import { checkRoom, type Database, plannedRows, rowOf, wantsPlanned } from '../run.ts'
import { isUndone } from '../settings.ts'
import type { Space } from '../space.ts'
import { claim, type Keyed, keep, keyedBy, oneByOne } from './answers.ts'
import { type Made, printed, resultOf } from './print.ts'
import { makeResolve, type Resolve } from './references.ts'
import { answeringRows, BATCH_LIMITS, type BatchRequest, bodyOf, listOf, requestOf, valuesOf } from './request.ts'

/** A batch, all of whose requests have one caller. */
export interface Batch {
  readonly text: string
  readonly caller: { readonly role: string; readonly claimsJson: string }
  /** Of the request that carried it: seen by functions as `request.headers`. */
  readonly headers: Asked['headers']
  readonly keyed: Keyed | undefined
  /** Everything is done, answered and undone. */
  readonly rollback: boolean
  readonly gone: () => Gone
}

/** Throws invalid_request for a key that is none. */
export function batchOf(request: Asked, { role, claimsJson }: Batch['caller'], space: Space, gone: () => Gone): Batch {
  const body = request.body instanceof Buffer ? request.body : Buffer.alloc(0)
  const prefer = header(request, 'prefer') ?? ''
  const profiles = [header(request, 'accept-profile') ?? '', header(request, 'content-profile') ?? '']
  return {
    text: body.toString('utf8'),
    caller: { role, claimsJson },
    headers: request.headers,
    keyed: keyedBy(header(request, 'idempotency-key'), { role, claimsJson }, [prefer, ...profiles, body]),
    rollback: isUndone(space.settings, parsePrefer(prefer, space.settings.transactionEnd).tx),
    gone,
  }
}

/** What is known of the request of a batch that is being made, for its error. */
export interface BatchTrace {
  /** Null: the batch as a whole. */
  index: number | null
  plan: Plan | null
  catalogue: Catalogue | null
  schema: string
  caller?: { readonly role: string; readonly kind: string; readonly claimsJson: string }
}

/** Ends a transaction whose work is not to stay; carries what it answers. */
class Undone {
  readonly body: Buffer
  constructor(body: Buffer) {
    this.body = body
  }
}

export interface BatchAnswer {
  readonly body: Buffer
  /** It was answered before, and is answered again. */
  readonly replayed: boolean
}

/** Runs the requests in their order in one transaction: all of them, or nothing of any. */
export function runBatch(database: Database, catalogue: Catalogue, space: Space, batch: Batch, trace: BatchTrace): Promise<BatchAnswer> {
  trace.index = null
  const requests = answeringRows(
    listOf(batch.text).map((item, index) => {
      trace.index = index
      return requestOf(item)
    }),
  )
  trace.index = null
  return oneByOne(database.pool, batch.keyed, async () => {
    const attempt = (once: boolean) => transaction({ database, catalogue, space, batch, trace, once }, requests)
    try {
      return await attempt(false)
    } catch (error) {
      // Nothing is written yet; with each statement parsed anew it cannot happen again.
      const fields = fieldsOfError(error)
      if (fields === null || !isStalePlan(fields)) throw error
      return attempt(true)
    }
  })
}

/**
 * Of the whole: the strictest that the caller's role, or a function that is called, asks for. It is said before the first statement, when the
 * overload is not known yet: each of that name counts.
 */
function isolationOf({ space, catalogue, batch }: Context, requests: readonly BatchRequest[]): Isolation | null {
  const { role } = batch.caller
  const called = requests.flatMap(({ rpc, name }) =>
    rpc ? space.settings.schemas.flatMap((schema) => catalogue.schemas.get(schema)?.functions.get(name) ?? []) : [],
  )
  const levels = [null, ...called].map((routine) => space.preparation(role, routine, false).isolation)
  return levels.find((level) => level === 'serializable') ?? levels.find((level) => level !== null) ?? null
}

function optionsOf(context: Context, requests: readonly BatchRequest[]): RunOptions {
  const { space, batch } = context
  const { timeout } = space.preparation(batch.caller.role, null, false)
  const isolation = isolationOf(context, requests)
  return { signal: batch.gone, ...(timeout === null ? {} : { timeout }), ...(isolation === null ? {} : { isolation }) }
}

async function transaction(context: Context, requests: readonly BatchRequest[]): Promise<BatchAnswer> {
  const { database, batch, trace } = context
  const run = async (tx: Transaction): Promise<BatchAnswer> => {
    const known = batch.keyed === undefined ? null : await claim(tx, batch.keyed)
    if (known !== null) return { body: known, replayed: true }
    const made: Made[] = []
    for (const [index, request] of requests.entries()) {
      trace.index = index
      made.push(await one({ ...context, tx, made }, request))
      if (made.reduce((sum, { body }) => sum + body.length, 0) > BATCH_LIMITS.answer)
        throw fail('result_too_large', { limit: BATCH_LIMITS.answer })
    }
    trace.index = null
    const body = printed(made)
    // Here, still as the caller: who checks them later would check as somebody else.
    const checked = plain('set constraints all immediate')
    if (batch.keyed !== undefined && !batch.rollback) await keep(tx, batch.keyed, body, checked)
    else await tx.query(checked)
    if (batch.rollback) throw new Undone(body)
    return { body, replayed: false }
  }
  try {
    return await asGateway(database.pool, run, optionsOf(context, requests))
  } catch (thrown) {
    if (thrown instanceof Undone) return { body: thrown.body, replayed: false }
    throw thrown
  }
}

interface Context {
  readonly database: Database
  readonly catalogue: Catalogue
  readonly space: Space
  readonly batch: Batch
  readonly trace: BatchTrace
  /** Nothing is prepared. */
  readonly once: boolean
}

interface Run extends Context {
  readonly tx: Transaction
  readonly made: readonly Made[]
}

const SET_TIMEOUT = `select where set_config('statement_timeout', $1, true) is null`

/** Nothing that a request before it has set, then as the caller, with the time and the settings of its role and function. */
function beforeOf({ database, space, batch }: Run, plan: Plan, identity: Identity): Statement[] {
  const preparation = space.preparation(batch.caller.role, plan.routine, plan.prefer.timezone !== null)
  const timeout = String(preparation.timeout ?? database.pool.timeout)
  return [FORGET, become(identity), { sql: SET_TIMEOUT, params: [timeout] }, ...preparation.before]
}

async function one(run: Run, request: BatchRequest): Promise<Made> {
  const { space, catalogue, database, batch, trace, tx } = run
  const resolve = makeResolve(run.made)
  const asked = askedOf(batch, request, resolve)
  const { schema, profile } = schemaOf(asked, space)
  Object.assign(trace, { catalogue, schema, plan: null })
  const { plan, values, body } = prepare(asked, request, space, catalogue, schema)
  trace.plan = plan
  checkRoom(database, plan)
  const identity = identityOf(asked, batch.caller, request, space.searchPaths.get(schema) ?? schema, plan.prefer.timezone)
  const before = beforeOf(run, plan, identity)
  const statement = (sql: string, params: Plan['params']): Statement => ({ sql, params: bind(params, values, body), once: run.once })
  const ask = (main: Statement) => tx.query(plan.readOnly ? readingOnly(main, before) : { ...main, before })
  const row = rowOf(await ask(statement(plan.sql, plan.params)), plan)
  const total =
    plan.explain !== null && wantsPlanned(plan, row)
      ? plannedRows(await ask(statement(plan.explain.sql, plan.explain.params)), row.total)
      : row.total
  return resultOf(answerOf(plan, { ...row, total }, values, profile), request.method === 'HEAD')
}

const plain = (sql: string): Statement => ({ sql, params: [] })

/** A read writes nothing in a batch either; the transaction writes again after it. */
const readingOnly = (main: Statement, before: readonly Statement[]): Statement => ({
  ...main,
  before: [plain('savepoint reading'), plain(`select where set_config('transaction_read_only', 'on', true) is null`), ...before],
  after: [plain('rollback to savepoint reading'), plain('release savepoint reading')],
})

/** The request as if it had come by itself, with the headers of the batch below its own. */
function askedOf(batch: Batch, request: BatchRequest, resolve: Resolve): Asked {
  const inherited = Object.entries(batch.headers).filter(([name]) => !OWN.has(name))
  return {
    method: request.method,
    url: request.url,
    headers: { ...Object.fromEntries(inherited), ...request.headers },
    body: bodyOf(request, resolve),
    meaning: (value, list) => valuesOf(value, resolve, list),
  }
}

/** Headers that say something of the batch and nothing of its requests. */
const OWN: ReadonlySet<string> = new Set([
  ...[
    'accept',
    'content-type',
    'content-length',
    'content-encoding',
    'transfer-encoding',
    'prefer',
    'range',
    'range-unit',
    'idempotency-key',
  ],
])
