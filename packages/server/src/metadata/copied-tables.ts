import type { DatabaseSync } from 'node:sqlite'

export interface CopiedTable {
  readonly name: string
  /** Without those that the database computes. */
  readonly columns: readonly string[]
  readonly primary: readonly string[]
}

/** Those of the schema in the order in which they were made, so that rows which others refer to come first. What was migrated is not data. */
export function tablesOf(database: DatabaseSync): CopiedTable[] {
  const names = database
    .prepare(
      `select name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\' and name <> 'migrations' order by rowid`,
    )
    .all()
  return names.map(({ name }) => {
    const columns = database.prepare('select name, pk from pragma_table_info(?)').all(String(name))
    const primary = columns.filter(({ pk }) => Number(pk) > 0).sort((a, b) => Number(a.pk) - Number(b.pk))
    return {
      name: String(name),
      columns: columns.map((column) => String(column.name)),
      primary: primary.map((column) => String(column.name)),
    }
  })
}
