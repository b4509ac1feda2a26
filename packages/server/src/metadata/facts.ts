import type { Kysely, Transaction } from 'kysely'
import { insertIfAbsent } from '../base/db/insert.ts'
import type { Tables } from './tables.ts'

type Handle = Kysely<Tables> | Transaction<Tables>

/** A small fact of the installation (JSON); undefined when it was never set. */
export async function getFact<T>(db: Handle, name: string): Promise<T | undefined> {
  const row = await db.selectFrom('facts').select('value').where('name', '=', name).executeTakeFirst()
  return row && (JSON.parse(row.value) as T)
}

/** Writes a fact, whether it was there or not. Within a transaction: `changer` or `database.transaction`. */
export async function setFact(trx: Transaction<Tables>, name: string, value: unknown, now = Date.now()): Promise<void> {
  const json = JSON.stringify(value)
  if (await insertIfAbsent(trx, 'facts', { name, value: json, updated_at: now })) return
  await trx.updateTable('facts').set({ value: json, updated_at: now }).where('name', '=', name).execute()
}

/** True for exactly one caller, ever: the first to claim the name (`demo made`, …). Goes with the transaction when that is rolled back. */
export async function claimFact(trx: Transaction<Tables>, name: string, value: unknown = true, now = Date.now()): Promise<boolean> {
  return insertIfAbsent(trx, 'facts', { name, value: JSON.stringify(value), updated_at: now })
}

export async function removeFact(trx: Transaction<Tables>, name: string): Promise<void> {
  await trx.deleteFrom('facts').where('name', '=', name).execute()
}
