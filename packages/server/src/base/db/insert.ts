import { type Insertable, type Kysely, MysqlAdapter } from 'kysely'

/** Inserts a row unless one with its key is there; true when inserted. Portable, and leaves an open transaction usable. */
export async function insertIfAbsent<T, Name extends keyof T & string>(
  db: Kysely<T>,
  table: Name,
  row: NoInfer<Insertable<T[Name]>>,
): Promise<boolean> {
  // The table's own type is not known here; the signature above is what holds callers to it.
  const insert = (db as unknown as Kysely<Record<string, Record<string, unknown>>>).insertInto(table).values(row as Record<string, unknown>)
  const mysql = db.getExecutor().adapter instanceof MysqlAdapter
  const result = await (mysql ? insert.ignore() : insert.onConflict((conflict) => conflict.doNothing())).executeTakeFirst()
  return Number(result.numInsertedOrUpdatedRows ?? 0n) > 0
}
