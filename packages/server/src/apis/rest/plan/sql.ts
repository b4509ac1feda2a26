import { fail } from '../../../base/errors.ts'
import type { Slot } from '../parse/ast.ts'
import { LIMITS } from '../parse/limits.ts'

/** Where a parameter of a statement comes from when a request is bound to its plan. */
export type Param =
  | { readonly from: 'value'; readonly slot: Slot }
  /** A number of rows, never more than `max`. */
  | { readonly from: 'limit'; readonly slot: Slot; readonly max: number | null }
  /** Several values as one array literal. */
  | { readonly from: 'array'; readonly slots: readonly Slot[] }
  | { readonly from: 'text'; readonly text: string }
  | { readonly from: 'body' }
  /** The body as bytea's hexadecimal form. */
  | { readonly from: 'bytes' }

/** A name as an identifier. Names cannot hold NUL: the parser refuses it, and no catalogue has one. */
export const ident = (name: string): string => `"${name.replaceAll('"', '""')}"`
export const qualified = (schema: string, name: string): string => `${ident(schema)}.${ident(name)}`

export const tooLarge = (reason: string) => fail('statement_unsupported', { reason })

/** Collects the parameters of one statement: each method answers its placeholder. */
export class Params {
  readonly list: Param[] = []
  readonly #texts = new Map<string, string>()
  readonly #slots = new Map<Slot, string>()
  #body: string | null = null
  #made = 0
  #selects = 0

  /** Counts a SELECT, and its text, before it is part of another. */
  select(sql: string): string {
    if (++this.#selects > LIMITS.selects) throw tooLarge(`it means more than ${LIMITS.selects} queries`)
    return this.part(sql)
  }

  /** Counts a part of the statement before anybody joins it with others. Throws statement_unsupported where they are too much. */
  part(sql: string): string {
    this.#made += sql.length
    if (this.#made > LIMITS.sql) throw tooLarge('it asks for too much at once')
    return sql
  }

  #add(param: Param): string {
    return `$${this.list.push(param)}`
  }

  value(slot: Slot): string {
    const known = this.#slots.get(slot)
    if (known !== undefined) return known
    const placeholder = this.#add({ from: 'value', slot })
    this.#slots.set(slot, placeholder)
    return placeholder
  }

  limit(slot: Slot, max: number | null): string {
    return this.#add({ from: 'limit', slot, max })
  }

  array(slots: readonly Slot[]): string {
    return this.#add({ from: 'array', slots })
  }

  /** A text of the shape itself (a JSON key, a language): the same text is one parameter, so that GROUP BY sees one expression. */
  text(text: string): string {
    const known = this.#texts.get(text)
    if (known !== undefined) return known
    const placeholder = this.#add({ from: 'text', text })
    this.#texts.set(text, placeholder)
    return placeholder
  }

  body(): string {
    this.#body ??= this.#add({ from: 'body' })
    return this.#body
  }

  bytes(): string {
    return this.#add({ from: 'bytes' })
  }
}

export const arrayLiteral = (items: readonly string[]): string =>
  `{${items.map((item) => `"${item.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`

function bound(param: Param, values: readonly string[], body: string): string {
  switch (param.from) {
    case 'value':
      return values[param.slot] ?? ''
    case 'limit': {
      const asked = values[param.slot] ?? '0'
      return param.max !== null && BigInt(asked) > BigInt(param.max) ? String(param.max) : asked
    }
    case 'array':
      return arrayLiteral(param.slots.map((slot) => values[slot] ?? ''))
    case 'text':
      return param.text
    case 'body':
      return body
    case 'bytes':
      return `\\x${Buffer.from(body, 'latin1').toString('hex')}`
  }
}

/** The values of one request in the places of its plan. */
export function bind(params: readonly Param[], values: readonly string[], body: string): string[] {
  const out: string[] = []
  for (const param of params) out.push(bound(param, values, body))
  return out
}
