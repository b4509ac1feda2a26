import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { Explained, ExplainOrder, QueryAnswer, type QueryLine, QueryOrder, type QueryResult } from '@sovrabase/contract/database'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { sha256 } from '../../../base/crypto.ts'
import { fail, isSovraError } from '../../../base/errors.ts'
import { uuid } from '../../../base/ids.ts'
import { actorOf, projectRefOf } from '../../actor.ts'
import type { Control } from '../../context.ts'
import { living } from '../../keys/living.ts'
import { cancelNamed, openSession, type Session } from '../session.ts'
import { explain } from './explain.ts'
import { endAfter } from './limit.ts'
import { type RunOrder, runAll, statementsOf } from './run.ts'

const NDJSON = 'application/x-ndjson'
const TIMEOUT = 60_000
const ROWS = 1_000
const STREAMED_ROWS = 10_000_000
/** Most rows, and most bytes of them, that are gathered for one JSON answer; more: as a stream. */
const GATHERED_ROWS = 10_000
const GATHERED_BYTES = 16 * 1024 * 1024
const nameOf = (id: string): string => `sovra query ${id}`

const orderOf = (body: QueryOrder, streamed: boolean): RunOrder => ({
  sql: body.sql,
  params: body.params ?? [],
  role: body.role ?? null,
  claims: body.claims ?? null,
  timeout: body.timeout ?? TIMEOUT,
  readOnly: body.read_only ?? false,
  transaction: body.transaction ?? true,
  limit: streamed ? body.limit || (body.limit === 0 ? STREAMED_ROWS : ROWS) : Math.min(body.limit ?? ROWS, GATHERED_ROWS),
})

/** Aborts when whoever asked goes away before the answer. */
function goneOf({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  return gone.signal
}

async function gather(lines: AsyncIterable<QueryLine>): Promise<QueryResult[]> {
  const results: QueryResult[] = []
  let open: Pick<QueryResult, 'columns' | 'rows'> = { columns: [], rows: [] }
  let bytes = 0
  for await (const line of lines) {
    if (line.type === 'columns') open.columns = [...line.columns]
    else if (line.type === 'rows') {
      bytes += JSON.stringify(line.rows).length
      if (bytes > GATHERED_BYTES) throw fail('result_too_large', { limit: GATHERED_BYTES })
      open.rows.push(...line.rows.map((row) => [...row]))
    } else if (line.type === 'done') {
      const { command, row_count, truncated, ms } = line
      results.push({ command, ...open, row_count, truncated, ms })
      open = { columns: [], rows: [] }
    }
  }
  return results
}

/** The lines of a query; the session ends with them, however they end. */
async function* guarded(session: Session, order: RunOrder, gone: AbortSignal, id: string): AsyncGenerator<QueryLine> {
  const ends = endAfter(session, order.timeout, gone)
  try {
    yield* runAll(session, order, statementsOf(order))
    yield { type: 'end', id, notices: session.notices }
  } catch (error) {
    throw ends.of(error)
  } finally {
    ends.clear()
    // Left half-way: what still runs ends too.
    if (gone.aborted) session.cancel()
    await session.close()
  }
}

/** As text; an error after the first line is the last line. */
async function* textOfLines(lines: AsyncIterable<QueryLine>, request: FastifyRequest): AsyncGenerator<string> {
  try {
    for await (const line of lines) yield `${JSON.stringify(line)}\n`
  } catch (error) {
    const { code, message, hint, details } = isSovraError(error) ? error : fail('internal')
    if (!isSovraError(error)) request.log.error({ err: error }, 'a streamed query failed')
    yield `${JSON.stringify({ type: 'error', error: { code, message, ...(hint ? { hint } : {}), details, request_id: request.id } })}\n`
  }
}

/** SQL as a role of the project. */
export const sqlRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const Params = Type.Object({ ref: Ref })
    const config = { action: 'database:execute', resource: 'project' } as const

    /** The text may hold people's data: its hash tells whether it was the same. */
    const record = (request: FastifyRequest, ref: string, sql: string, after: object) =>
      control.change(actorOf(request), (c) =>
        c.event({ name: 'database.executed', subject: ref, project_ref: ref, after: { ...after, sha256: sha256(sql) } }),
      )

    app.post(
      '/projects/:ref/database/query',
      { config, schema: { params: Params, body: QueryOrder, response: { 200: QueryAnswer } } },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const streamed = request.headers.accept?.includes(NDJSON) ?? false
        const order = orderOf(request.body, streamed)
        const statements = statementsOf(order).length
        const id = request.body.id ?? uuid()
        await record(request, ref, order.sql, { role: order.role ?? 'postgres', read_only: order.readOnly, statements })
        const session = await openSession(control, ref, { reason: 'sql', name: nameOf(id) })
        const lines = guarded(session, order, goneOf(reply), id)
        if (!streamed) return { id, results: await gather(lines), notices: [...session.notices] }
        // Not a value of the response's schema: the serialiser is passed by.
        return reply.type(NDJSON).send(Readable.from(textOfLines(lines, request), { objectMode: false }) as never)
      },
    )

    app.post(
      '/projects/:ref/database/query/:id/cancel',
      { config, schema: { params: Type.Object({ ref: Ref, id: Type.String({ maxLength: 40 }) }), response: { 204: Type.Null() } } },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const { id } = request.params
        // Of the cluster, so that any node can; whoever may run SQL may end any of it.
        const session = await openSession(control, ref, { reason: 'sql' })
        try {
          if (!(await cancelNamed(session, nameOf(id)))) throw fail('query_not_found', { id })
        } finally {
          await session.close()
        }
        return reply.code(204).send(null)
      },
    )

    app.post(
      '/projects/:ref/database/explain',
      { config, schema: { params: Params, body: ExplainOrder, response: { 200: Explained } } },
      async (request, reply) => {
        const ref = await living(control, projectRefOf(request))
        const { sql, role = 'postgres', analyze = false, timeout = TIMEOUT } = request.body
        await record(request, ref, sql, { role, explain: true, analyze })
        const session = await openSession(control, ref, { reason: 'sql' })
        const ends = endAfter(session, timeout, goneOf(reply))
        try {
          return await explain(session, request.body)
        } catch (error) {
          throw ends.of(error)
        } finally {
          ends.clear()
          await session.close()
        }
      },
    )
  }
