import type { FastifyRequest } from 'fastify'
import { fail } from '../base/errors.ts'
import { parseDuration } from '../base/units.ts'

const NUL = '\0'

const hasNul = (value: unknown): boolean => {
  if (typeof value === 'string') return value.includes(NUL)
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(([name, member]) => name.includes(NUL) || hasNul(member))
}

/** preValidation: PostgreSQL takes no text with a zero character, so none of our databases gets one. */
export async function refuseNul({ params, query, body }: FastifyRequest): Promise<void> {
  if (hasNul(params) || hasNul(query) || hasNul(body)) throw fail('invalid_request', { reason: 'it holds a zero character' })
}

/** A duration of a request in ms, at most `max`; `invalid_request`. What is added to the clock must stay a time. */
export function durationOf(text: string, name: string, max: { readonly ms: number; readonly says: string }): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms > max.ms)
    throw fail('invalid_request', { reason: `\`${name}\` is a duration such as 30d, ${max.says} at most` })
  return ms
}

/** `If-Match` (RFC 9110 §13.1.1): the version that the caller has seen; undefined: any. */
export function versionOf({ headers }: FastifyRequest): number | undefined {
  const header = headers['if-match']
  if (header === undefined || header === '*') return undefined
  const found = /^(?:W\/)?"?(\d{1,15})"?$/.exec(header)
  if (!found) throw fail('invalid_request', { reason: 'If-Match must be the version that was read (its ETag)' })
  return Number(found[1])
}
