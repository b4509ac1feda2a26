import { fail } from '../../../base/errors.ts'
import { asGateway, become } from '../../../runtime/engines/postgres/as-role.ts'
import type { Catalogue } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { fieldsOfError, isStalePlan } from '../../../runtime/engines/postgres/wire/errors.ts'
import type { Gone, Statement } from '../../../runtime/engines/postgres/wire/job.ts'
import type { Transaction } from '../../../runtime/engines/postgres/wire/transaction.ts'
import { parsePrefer } from '../parse/headers.ts'
import { bind } from '../plan/sql.ts'
import type { Plan } from '../plan/types.ts'
import { type Asked, header, identityOf, prepare, schemaOf } from '../prepare.ts'
import { answerOf } from '../reply.ts'
import { checkRoom, type Database, plannedRows, rowOf, wantsPlanned } from '../run.ts'
import type { Space } from '../space.ts'
import { claim, type Keyed, keep, keyedBy, oneByOne } from './answers.ts'
import { type Made, printed, resultOf } from './print.ts'
import { makeResolve, type Resolve } from './references.ts'
import { BATCH_LIMITS, type BatchRequest, bodyOf, listOf, requestOf, valuesOf } from './request.ts'

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
    rollback: parsePrefer(prefer, space.settings.transactionEnd).tx === 'rollback',
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
  const list = listOf(batch.text)
  return oneByOne(database.pool, batch.keyed, async () => {
    const attempt = (once: boolean) => transaction(database, catalogue, space, batch, list, trace, once)
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

async function transaction(
  database: Database,
  catalogue: Catalogue,
  space: Space,
  batch: Batch,
  list: ReturnType<typeof listOf>,
  trace: BatchTrace,
  once: boolean,
): Promise<BatchAnswer> {
  const { timeout } = space.preparation(batch.caller.role)
  const options = timeout === null ? { signal: batch.gone } : { signal: batch.gone, timeout }
  try {
    return await asGateway(
      database.pool,
      async (tx) => {
        const known = batch.keyed === undefined ? null : await claim(tx, batch.keyed)
        if (known !== null) return { body: known, replayed: true }
        const run = { tx, database, catalogue, space, batch, trace, once, made: [] as Made[] }
        for (const [index, item] of list.entries()) {
          trace.index = index
          run.made.push(await one(run, requestOf(item)))
          if (run.made.reduce((sum, { body }) => sum + body.length, 0) > BATCH_LIMITS.answer)
            throw fail('result_too_large', { limit: BATCH_LIMITS.answer })
        }
        trace.index = null
        const body = printed(run.made)
        // Here, still as the caller: who checks them later would check as somebody else.
        const checked = plain('set constraints all immediate')
        if (batch.keyed !== undefined && !batch.rollback) await keep(tx, batch.keyed, body, checked)
        else await tx.query(checked)
        if (batch.rollback) throw new Undone(body)
        return { body, replayed: false }
      },
      options,
    )
  } catch (thrown) {
    if (thrown instanceof Undone) return { body: thrown.body, replayed: false }
    throw thrown
  }
}

interface Run {
  readonly tx: Transaction
  readonly database: Database
  readonly catalogue: Catalogue
  readonly space: Space
  readonly batch: Batch
  readonly trace: BatchTrace
  readonly once: boolean
  readonly made: Made[]
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
  const before = [become(identity), ...space.preparation(identity.role).before]
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
