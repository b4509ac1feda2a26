import { fail } from '../../../base/errors.ts'
import type { SelectField } from '../parse/ast.ts'
import { fieldName } from './fields.ts'
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

/** Pure; throws PGRST127 where the spread resource has many rows. */
export function spreadColumns(node: Node, fields: readonly SelectField[]): Spread[] {
  if (!node.relation?.toOne) {
    throw fail('PGRST127', {}, { details: 'Aggregates are not implemented for one-to-many or many-to-many spreads.' })
  }
  const own = fields.map((field, i) =>
    field.aggregate === null ? { name: field.alias ?? fieldName(field.field), lifted: null } : { name: `_sovra_${i}`, lifted: field },
  )
  const nested = node.children.flatMap((child, i): Spread[] =>
    lifts(child)
      ? spreadColumns(child, child.fields).map(({ name, lifted }) => ({ name: lifted === null ? name : `_sovra_${i}${name}`, lifted }))
      : isSpread(child)
        ? child.fields.map((field) => ({ name: field.alias ?? fieldName(field.field), lifted: null }))
        : [{ name: child.name, lifted: null }],
  )
  return [...own, ...nested]
}
