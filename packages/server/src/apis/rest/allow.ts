import type { Catalogue, Table } from '../../runtime/engines/postgres/catalogue/types.ts'
import { noRoutine } from './plan/call.ts'

/** Roles whose rights the catalogue holds; of another nothing is known, so nothing is left out. */
const KNOWN = new Set(['anon', 'authenticated', 'service_role'])

/** The Allow header of a table or view: what can be done with it and the role may do. Pure. */
export function tableMethods(table: Table, role: string): string {
  const { insertable, updatable, deletable, primaryKey } = table
  const may = (letter: string) => table.grants[role]?.includes(letter) ?? true
  const [insert, update] = [insertable && may('a'), updatable && may('w')]
  const methods = [
    'OPTIONS',
    ...(may('r') ? ['GET', 'HEAD'] : []),
    ...(insert ? ['POST'] : []),
    ...(insert && update && primaryKey.length > 0 ? ['PUT'] : []),
    ...(update ? ['PATCH'] : []),
    ...(deletable && may('d') ? ['DELETE'] : []),
  ]
  return methods.join(',')
}

/** The Allow header of a function. Throws PGRST202 where there is none. Pure. */
export function routineMethods(catalogue: Catalogue, schema: string, name: string, role: string): string {
  const overloads = catalogue.schemas.get(schema)?.functions.get(name)
  if (!overloads) {
    throw noRoutine({ catalogue, schema }, name, [], [], null)
  }
  const callable = overloads.filter(({ execute }) => !KNOWN.has(role) || execute.includes(role))
  if (callable.length === 0) return 'OPTIONS'
  return callable.every(({ volatility }) => volatility === 'volatile') ? 'OPTIONS,POST' : 'OPTIONS,GET,HEAD,POST'
}
