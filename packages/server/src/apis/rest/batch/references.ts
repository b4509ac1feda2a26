import { fail } from '../../../base/errors.ts'
import { type Json, parseJson } from './json.ts'

/**
 * References of a batch to its earlier results:
 *
 *     reference = "$" index ( 1*step | ".$" )
 *     step      = "." name | "[" digits "]" | "[*]"
 *     name      = letter or "_", then letters, digits and "_"  |  a JSON string
 *
 * A text is a reference only as a whole. One that begins with "$$" is the rest of it, from the second "$" on.
 */
const WHOLE = /^\$(\d{1,4})(\.\$|(?:\.[\p{L}_][\p{L}\p{N}_]*|\."(?:[^"\\]|\\.)*"|\[\d{1,7}\]|\[\*\])+)$/u
const STEP = /\.([\p{L}_][\p{L}\p{N}_]*)|\.("(?:[^"\\]|\\.)*")|\[(\d+)\]|(\[\*\])/gu

/** The request that a text refers to as a whole; null: it is no reference. */
export const referredBy = (text: string): number | null => {
  const found = WHOLE.exec(text)
  return found ? Number(found[1]) : null
}

/** What a request answered, as later ones may refer to it. */
export interface Referable {
  /** Null: an answer without a body, or whose body is no JSON. */
  readonly json: Buffer | null
}

export type Resolve = (text: string) => { readonly value: Json; readonly reference: string } | { readonly literal: string }

/** Reads texts of the request `at` of a batch; each result is parsed once, when it is first referred to. */
export function makeResolve(results: readonly Referable[]): Resolve {
  const parsed: (Json | undefined)[] = []
  return (text) => {
    if (text[0] !== '$') return { literal: text }
    if (text[1] === '$') return { literal: text.slice(1) }
    const found = WHOLE.exec(text)
    if (!found) return { literal: text }
    const index = Number(found[1])
    const result = results[index]
    if (result === undefined) throw unresolved(text, `there is no result ${index} before this request`)
    if (result.json === null) throw unresolved(text, `result ${index} has no JSON body; ask for one with Prefer: return=representation`)
    parsed[index] ??= parseJson(result.json.toString('utf8'))
    const path = found[2] ?? ''
    return { value: path === '.$' ? parsed[index] : walk(parsed[index], stepsOf(path), text), reference: text }
  }
}

type Step = string | number | typeof EACH
const EACH = Symbol('each')

const stepsOf = (path: string): Step[] =>
  [...path.matchAll(STEP)].map(([, plain, quoted, index, each]) => {
    if (each !== undefined) return EACH
    if (index !== undefined) return Number(index)
    return plain ?? nameOf(quoted ?? '""')
  })

function nameOf(quoted: string): string {
  try {
    return String(JSON.parse(quoted))
  } catch {
    throw unresolved(quoted, 'it is no JSON string')
  }
}

function walk(start: Json, steps: readonly Step[], reference: string): Json {
  let value = start
  for (const [at, step] of steps.entries()) {
    if (step === EACH) {
      if (!Array.isArray(value)) throw unresolved(reference, '[*] stands behind a list only')
      return value.map((item) => walk(item, steps.slice(at + 1), reference))
    }
    value = typeof step === 'number' ? element(value, step, reference) : member(value, step, reference)
  }
  return value
}

function element(value: Json, index: number, reference: string): Json {
  if (!Array.isArray(value)) throw unresolved(reference, `[${index}] stands behind a list only`)
  const found = value[index]
  if (found === undefined) throw unresolved(reference, `the list has ${value.length} elements`)
  return found
}

/** Of a list with one row, its member: that is what a write of one row answers. */
function member(value: Json, name: string, reference: string): Json {
  if (Array.isArray(value)) {
    if (value.length !== 1) throw unresolved(reference, `the list has ${value.length} elements; write [0] or [*] before .${name}`)
    return member(value[0] as Json, name, reference)
  }
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) throw unresolved(reference, `there is no "${name}"`)
  return (value as Readonly<Record<string, Json>>)[name] as Json
}

export const unresolved = (reference: string, reason: string) => fail('batch_reference', { reference: reference.slice(0, 200), reason })
