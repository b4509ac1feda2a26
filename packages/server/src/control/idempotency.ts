import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Vault } from '../base/crypto.ts'
import { insertIfAbsent } from '../base/db/insert.ts'
import { fail } from '../base/errors.ts'
import type { Metadata } from '../metadata/open.ts'
import type { IdempotentAnswers } from '../metadata/tables.ts'

/** After this long an answer that was never written is taken for lost with its process: longer than any `Prefer: wait` with a wake in it. */
const LOST_AFTER = 180_000
const KEY = /^[\x21-\x7e]{1,255}$/
/** Until there is an answer: the request whose events are in the commit of what it did. */
const REQUEST = 'x-request-id'
const KEPT_HEADERS = ['location', 'content-type', 'preference-applied', 'etag'] as const

declare module 'fastify' {
  interface FastifyRequest {
    idempotency: { readonly key: string; readonly actor: string } | null
  }
}

/** Answers may show secrets (new keys, tokens, links): they are never stored in clear. */
const context = (key: string, actor: string): string => `idempotent_answers/${actor}/${key}`

const fingerprint = (request: FastifyRequest): string =>
  createHash('sha256')
    .update(`${request.method} ${request.url}\n${JSON.stringify(request.body ?? null)}`)
    .digest('hex')

interface IdempotencyOptions {
  /** ms that an answer is kept for its key. */
  readonly keep: number
  readonly metadata: Metadata
  readonly vault: Vault
  readonly now: () => number
}

/**
 * `Idempotency-Key` on POST (draft-ietf-httpapi-idempotency-key-header): the first request with a key does the work, every later one with
 * the same body gets its answer; one that comes while it still runs gets 409; another body under the same key is refused. Where the process
 * died in between, the request is done again if it had committed nothing; else what it did is named with 409, and never done twice.
 */
export const idempotency = fp((app: FastifyInstance, { metadata, vault, now, keep }: IdempotencyOptions, done: () => void) => {
  app.decorateRequest('idempotency', null)

  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers['idempotency-key']
    const actor = request.principal && 'id' in request.principal ? request.principal.id : undefined
    if (request.method !== 'POST' || typeof key !== 'string' || actor === undefined) return
    if (!KEY.test(key)) throw fail('invalid_request', { reason: 'Idempotency-Key must be 1 to 255 printable characters' })
    const mark = fingerprint(request)
    const known = await claim(request.id, { key, actor, mark })
    if (!known) {
      request.idempotency = { key, actor }
      return
    }
    if (known.fingerprint !== mark) throw fail('idempotency_mismatch')
    if (known.done) throw fail('idempotency_lost', { event: known.done.name, subject: known.done.subject ?? '' })
    if (known.status === null) throw fail('idempotency_running', {}, { headers: { 'retry-after': '1' } })
    return reply
      .code(known.status)
      .headers({ ...(JSON.parse(known.headers) as Record<string, string>), 'idempotency-replayed': 'true' })
      .send(known.body === null ? undefined : vault.open(known.body, context(key, actor)))
  })

  type Known = Pick<IdempotentAnswers, 'fingerprint' | 'status' | 'headers' | 'body'> & {
    /** It was carried out, and its answer was lost with its process. */
    readonly done?: { readonly name: string; readonly subject: string | null }
  }

  /** Undefined: the key is ours now. */
  const claim = (id: string, { key, actor, mark }: { key: string; actor: string; mark: string }): Promise<Known | undefined> =>
    metadata.transaction(async (trx) => {
      const known = await trx
        .selectFrom('idempotent_answers')
        .selectAll()
        .where('key', '=', key)
        .where('actor', '=', actor)
        .executeTakeFirst()
      const at = now()
      const lost = known && known.status === null && known.created_at < at - LOST_AFTER
      const over = known && known.expires_at < at
      if (known && !lost && !over) return known
      if (known && !over) {
        const done = await trx
          .selectFrom('events')
          .select(['name', 'subject'])
          .where('request_id', '=', (JSON.parse(known.headers) as Record<string, string>)[REQUEST] ?? null)
          .where('actor', '=', actor)
          .where('created_at', '>=', known.created_at)
          .orderBy('seq')
          .executeTakeFirst()
        if (done) return { ...known, done }
      }
      if (known) await trx.deleteFrom('idempotent_answers').where('key', '=', key).where('actor', '=', actor).execute()
      const headers = JSON.stringify({ [REQUEST]: id })
      const row = { key, actor, fingerprint: mark, status: null, headers, body: null, created_at: at, expires_at: at + keep }
      // Two at once: the other has it.
      return (await insertIfAbsent(trx, 'idempotent_answers', row)) ? undefined : row
    })

  app.addHook('onSend', async (request, reply, payload) => {
    const mine = request.idempotency
    if (!mine) return payload
    request.idempotency = null
    const where = metadata.kysely
    // An error of ours is no answer to keep: the same request may succeed later.
    if (reply.statusCode >= 400) {
      await where.deleteFrom('idempotent_answers').where('key', '=', mine.key).where('actor', '=', mine.actor).execute()
      return payload
    }
    const headers = Object.fromEntries(KEPT_HEADERS.flatMap((name) => (reply.hasHeader(name) ? [[name, reply.getHeader(name)]] : [])))
    await where
      .updateTable('idempotent_answers')
      .set({
        status: reply.statusCode,
        headers: JSON.stringify(headers),
        body: typeof payload === 'string' ? vault.seal(payload, context(mine.key, mine.actor)) : null,
      })
      .where('key', '=', mine.key)
      .where('actor', '=', mine.actor)
      .execute()
    return payload
  })
  done()
})
