import { createHash } from 'node:crypto'
import { fail } from '../../../base/errors.ts'
import { BECOME_GATEWAY } from '../../../runtime/engines/postgres/as-role.ts'
import type { Statement } from '../../../runtime/engines/postgres/wire/job.ts'
import type { PipelinePool } from '../../../runtime/engines/postgres/wire/pool.ts'
import type { Transaction } from '../../../runtime/engines/postgres/wire/transaction.ts'

/** Hours that the answer to an Idempotency-Key is kept. */
export const KEPT_HOURS = 24
const KEY = /^[\x21-\x7e]{1,255}$/
/** Old answers that a new one clears away. */
const SWEPT = 20

/** The key of a batch: who sent it, and what it was. */
export interface Keyed {
  readonly key: string
  readonly actor: string
  readonly fingerprint: string
}

/** Undefined without a key. Throws invalid_request. */
export function keyedBy(
  key: string | undefined,
  caller: { role: string; claimsJson: string },
  parts: readonly (string | Buffer)[],
): Keyed | undefined {
  if (key === undefined) return undefined
  if (!KEY.test(key)) throw fail('invalid_request', { reason: 'Idempotency-Key must be 1 to 255 printable characters' })
  const { sub = '' } = JSON.parse(caller.claimsJson) as { sub?: unknown }
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return { key, actor: JSON.stringify([caller.role, sub]), fingerprint: hash.digest('hex') }
}

const SWEEP = `delete from sovrabase.idempotent_answers where (actor, key) in
  (select actor, key from sovrabase.idempotent_answers where expires_at < now() order by expires_at limit ${SWEPT} for update skip locked)`
/** Waits for a transaction that holds the key; an answer past its time gives way. */
const CLAIM = `insert into sovrabase.idempotent_answers as a (actor, key, fingerprint, expires_at) values ($1, $2, $3, now() + make_interval(hours => ${KEPT_HOURS}))
  on conflict (actor, key) do update set fingerprint = excluded.fingerprint, body = null, expires_at = excluded.expires_at where a.expires_at < now() returning 1`
const READ = 'select fingerprint, body from sovrabase.idempotent_answers where actor = $1 and key = $2'
const KEEP = 'update sovrabase.idempotent_answers set body = $3 where actor = $1 and key = $2'

/**
 * Takes the key in the batch's own transaction, so that key, answer and what the batch wrote are there together or not at all. Answers what
 * was answered before; null where this is the first. Throws idempotency_mismatch.
 */
export async function claim(tx: Transaction, { key, actor, fingerprint }: Keyed): Promise<Buffer | null> {
  const claimed = await tx.query({ sql: CLAIM, params: [actor, key, fingerprint], before: [{ sql: SWEEP, params: [] }] })
  if (claimed.rows === 1) return null
  const known = await tx.query({ sql: READ, params: [actor, key] })
  if (known.text(0, 0) !== fingerprint) throw fail('idempotency_mismatch')
  return known.bytes(0, 1)
}

/** `before`: what is still to do as the caller. */
export async function keep(tx: Transaction, { key, actor }: Keyed, body: Buffer, before: Statement): Promise<void> {
  await tx.query({ sql: KEEP, params: [actor, key, body.toString('utf8')], before: [before, BECOME_GATEWAY] })
}

/** By pool and key: the last of those who want it. A project is at home on one node, so whoever waits, waits here and holds no connection. */
const running = new WeakMap<PipelinePool, Map<string, Promise<unknown>>>()

/** One after another for the same key. */
export async function oneByOne<R>(pool: PipelinePool, keyed: Keyed | undefined, run: () => Promise<R>): Promise<R> {
  if (keyed === undefined) return run()
  const queue = running.get(pool) ?? new Map<string, Promise<unknown>>()
  running.set(pool, queue)
  const name = `${keyed.actor}\0${keyed.key}`
  const mine = (queue.get(name) ?? Promise.resolve()).then(run, run)
  queue.set(name, mine)
  try {
    return await mine
  } finally {
    if (queue.get(name) === mine) queue.delete(name)
  }
}
