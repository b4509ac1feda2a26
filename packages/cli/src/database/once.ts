import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'pg'
import { CliError, stop } from '../terminal/errors.ts'
import { type Result, run } from './sql.ts'

/** What an attempt may note, and what the one before noted last. */
export interface Notes {
  readonly before: { readonly text: string } | undefined
  mark(text: string): void
  /** It may as well be done again. */
  harmless(): void
}

const XID = 'xid:'
const RAW = 'begun'
/** VACUUM and the like; COMMIT within a procedure. */
const NEEDS_NO_TRANSACTION = new Set(['25001', '2D000'])

const sqlstate = (error: unknown): string | undefined =>
  error instanceof CliError ? (error.shown.details as { sqlstate?: string } | undefined)?.sqlstate : undefined

/** Times and ms between, until a COMMIT under way when its client was killed is through. */
const LOOKS = { times: 50, every: 200 } as const

/** Of the transaction that an earlier attempt was about to commit, PostgreSQL itself says what became of it. */
async function isCommitted(client: Client, xid: string): Promise<boolean> {
  for (let look = 0; look < LOOKS.times; look++) {
    // Too old to be known, or of another cluster: an error, or null.
    const [asked] = await run(client, `select pg_xact_status('${xid}'::xid8)`).catch(() => [])
    const status = asked?.rows[0]?.[0]
    if (status === 'committed') return true
    if (status === 'aborted') return false
    if (status !== 'in progress') break
    await pause(LOOKS.every)
  }
  throw stop('run_uncertain')
}

/** Without a transaction of ours nothing tells afterwards how far it came: a connection that is lost leaves that open. */
async function bare(client: Client, sql: string, notes: Notes): Promise<Result[]> {
  notes.mark(RAW)
  try {
    return await run(client, sql)
  } catch (error) {
    if (sqlstate(error) !== undefined) notes.mark('failed')
    throw error
  }
}

async function inTransaction(client: Client, sql: string, notes: Notes): Promise<Result[]> {
  await run(client, 'begin')
  try {
    const results = await run(client, sql)
    const [asked] = await run(client, 'select pg_current_xact_id_if_assigned()')
    const xid = asked?.rows[0]?.[0]
    // Without an id it has written nothing: then twice is no harm, and its rows are wanted.
    if (xid) notes.mark(`${XID}${BigInt(xid)}`)
    else notes.harmless()
    await run(client, 'commit')
    return results
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw error
  }
}

/**
 * Runs SQL once over several attempts, each of which may be killed at any moment; null: an earlier one has done it. `own`: it speaks of
 * transactions itself. `run_uncertain` where neither is known.
 */
export async function runOnce(client: Client, sql: string, own: boolean, notes: Notes): Promise<Result[] | null> {
  const { before } = notes
  if (before?.text === RAW) throw stop('run_uncertain')
  if (before?.text.startsWith(XID) && (await isCommitted(client, before.text.slice(XID.length)))) return null
  if (own) return bare(client, sql, notes)
  try {
    return await inTransaction(client, sql, notes)
  } catch (error) {
    if (!NEEDS_NO_TRANSACTION.has(sqlstate(error) ?? '')) throw error
    return bare(client, sql, notes)
  }
}
