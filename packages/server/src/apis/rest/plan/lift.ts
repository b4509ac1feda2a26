import { fail } from '../../../base/errors.ts'
import type { SelectField } from '../parse/ast.ts'
import { LIMITS } from '../parse/limits.ts'
import { fieldName } from './fields.ts'
import { tooLarge } from './sql.ts'
import type { Node } from './tree.ts'

/** A column that a spread resource gives its parent. */
export interface Spread {
  /** As its own SELECT calls it. */
  readonly name: string
  /** The aggregate to make of it where rows are grouped: at the first ancestor that is not spread itself. */
  readonly lifted: SelectField | null
}

export const isSpread = (node: Node): boolean => node.embed?.spread === true
const aggregates = (node: Node): boolean => node.fields.some(({ aggregate }) => aggregate !== null)

/** An aggregate inside a spread resource is one over the parent's rows. */
export const lifts = (node: Node): boolean => isSpread(node) && (aggregates(node) || node.children.some(lifts))

/** Nothing of it is shown, nor of what it embeds. */
export const isEmpty = (node: Node): boolean => node.fields.length === 0 && node.children.every(isEmpty)

function atMost(columns: number): void {
  if (columns > LIMITS.columns) throw tooLarge(`it names more than ${LIMITS.columns} columns`)
}

/** `*` beside an aggregate or in a spread means each column by its name. */
export function expanded(node: Node): SelectField[] {
  const all = node.fields.filter(({ aggregate, field }) => aggregate === null && field.name === '*').length
  atMost(node.fields.length + all * (node.table?.columns.size ?? 0))
  return node.fields.flatMap((field) =>
    field.aggregate === null && field.field.name === '*' && node.table
      ? [...node.table.columns.keys()].map((name) => ({ ...field, field: { name, path: [] } }))
      : [field],
  )
}

/** What the SELECT of a resource calls its columns, with those of the resources spread in it. */
export function columnNames(node: Node): string[] {
  const own = expanded(node).map(({ field, alias, aggregate }) => alias ?? aggregate ?? fieldName(field))
  const embedded = node.children.flatMap((child) => (isEmpty(child) ? [] : isSpread(child) ? columnNames(child) : [child.name]))
  atMost(own.length + embedded.length)
  return [...new Set([...own, ...embedded])]
}

/** Pure; throws PGRST127 where the spread resource has many rows. */
export function spreadColumns(node: Node): Spread[] {
  if (!node.relation?.toOne) {
    throw fail('PGRST127', {}, { details: 'Aggregates are not implemented for one-to-many or many-to-many spreads.' })
  }
  const own = expanded(node).map((field, i) =>
    field.aggregate === null ? { name: field.alias ?? fieldName(field.field), lifted: null } : { name: `_sovra_${i}`, lifted: field },
  )
  const nested = node.children.flatMap((child, i): Spread[] => {
    if (lifts(child)) {
      return spreadColumns(child).map(({ name, lifted }) => ({ name: lifted === null ? name : `_sovra_${i}${name}`, lifted }))
    }
    if (isEmpty(child)) return []
    return (isSpread(child) ? columnNames(child) : [child.name]).map((name) => ({ name, lifted: null }))
  })
  return [...own, ...nested]
}
