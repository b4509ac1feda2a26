import { randomBytes, randomInt } from 'node:crypto'
import { v7 } from 'uuid'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
const REF_LENGTH = 20

/** UUIDv7 as text: sorts by the time it was made. */
export const uuid = (): string => v7()

/** A project's ref: 20 random letters a–z (94 bits), fit for a host label. */
export function projectRef(): string {
  let ref = ''
  for (let i = 0; i < REF_LENGTH; i++) ref += LETTERS[randomInt(LETTERS.length)]
  return ref
}

export const isProjectRef = (text: string): boolean => /^[a-z]{20}$/.test(text)

/** `bytes` random bytes as base64url: a secret that may be written into a URL. */
export const randomToken = (bytes = 32): string => randomBytes(bytes).toString('base64url')

// A counter behind 72 random bits of this process: unique on all nodes, and far cheaper than random bits for each request.
const process_ = randomBytes(9).toString('base64url')
let count = 0

/** Names one request in logs, events and answers; unique, not secret. */
export const requestId = (): string => `${process_}-${(count++).toString(36)}`

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Whether a text is an id as we write them; names never are (see control/organisations). */
export const isUuid = (text: string): boolean => UUID.test(text)
