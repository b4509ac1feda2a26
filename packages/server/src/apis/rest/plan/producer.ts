import { type Catalogue, handlerKey, type Routine, type Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Query } from '../parse/ast.ts'
import type { Media, Producer } from '../parse/media.ts'

const RAW: Readonly<Record<string, readonly string[]>> = {
  'text/plain': ['text', 'varchar', 'bpchar'],
  'text/xml': ['xml'],
  'application/octet-stream': ['bytea'],
}

/** A handler of one table takes whole rows of it, as they are stored. */
const isDefault = ({ select }: Query): boolean => {
  const [only] = select
  return select.length === 1 && only?.kind === 'field' && only.field.name === '*' && only.aggregate === null && only.alias === null
}

/** Its value is of a media type already: no other is made of it. */
const isHandler = (catalogue: Catalogue, { schema, name }: Routine): boolean =>
  [...catalogue.handlers.values()].some((handler) => !handler.aggregate && handler.schema === schema && handler.name === name)

/** What can be made of the rows of a table, or of what a function returns. Pure. */
export function producerOf(catalogue: Catalogue, query: Query, table: Table | null, routine: Routine | null, plans: boolean): Producer {
  const scalar = routine !== null && routine.returns !== 'composite'
  const schema = routine?.schema ?? table?.schema ?? ''
  const name = table?.name ?? routine?.name ?? ''
  const make = (type: string): Media | null => {
    const own = isDefault(query) ? catalogue.handlers.get(handlerKey(type, schema, name)) : undefined
    if (own && own.aggregate !== scalar) return { kind: 'custom', handler: own, rows: own.aggregate ? table : null }
    const any = scalar ? undefined : catalogue.handlers.get(handlerKey(type))
    if (any && type !== '*/*') return { kind: 'custom', handler: any, rows: null }
    if (type === 'application/geo+json' && catalogue.geoJson !== null && !scalar) return { kind: 'geojson', schema: catalogue.geoJson }
    if (
      scalar &&
      !routine.returnsSet &&
      !isHandler(catalogue, routine) &&
      Object.hasOwn(RAW, type) &&
      RAW[type]?.includes(routine.returnType)
    ) {
      return { kind: 'raw', type, binary: routine.returnType === 'bytea' }
    }
    return null
  }
  return { make, plans }
}
