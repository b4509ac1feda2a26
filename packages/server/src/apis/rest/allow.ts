import type { Catalogue, Table } from '../../runtime/engines/postgres/catalogue/types.ts'
import { noRoutine } from './plan/call.ts'

/** The Allow header of a table or view. Pure. */
export function tableMethods(table: Table): string {
  const { insertable, updatable, deletable, primaryKey } = table
  const put = insertable && updatable && primaryKey.length > 0
  return `OPTIONS,GET,HEAD${insertable ? ',POST' : ''}${put ? ',PUT' : ''}${updatable ? ',PATCH' : ''}${deletable ? ',DELETE' : ''}`
}

/** The Allow header of a function. Throws PGRST202 where there is none. Pure. */
export function routineMethods(catalogue: Catalogue, schema: string, name: string): string {
  const overloads = catalogue.schemas.get(schema)?.functions.get(name)
  if (!overloads) {
    throw noRoutine({ catalogue, schema }, name, [], [], null)
  }
  return overloads.every(({ volatility }) => volatility === 'volatile') ? 'OPTIONS,POST' : 'OPTIONS,GET,HEAD,POST'
}
