import type { Json } from '../store/types.ts'

/** An attribute of an assertion, with all that it says. */
export interface Attribute {
  readonly name: string
  readonly friendlyName: string
  readonly values: readonly string[]
}

/** How a claim is made: GoTrue's shape. */
export interface AttributeRule {
  readonly name?: string
  readonly names?: readonly string[]
  readonly default?: unknown
  readonly array?: boolean
}

export type Mapping = Readonly<Record<string, AttributeRule>>

/** An id that stays (SAML subject identifier attributes 1.0 §3.3). */
const SUBJECT_ID = ['urn:oasis:names:tc:SAML:attribute:subject-id', 'urn:oasis:names:tc:SAML:attribute:pairwise-id']
/** What addresses are called: LDAP's mail, those of Microsoft, and plain names. */
const EMAIL = [
  'urn:oid:0.9.2342.19200300.100.1.3',
  'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress',
  'http://schemas.xmlsoap.org/claims/EmailAddress',
  'mail',
  'Mail',
  'email',
]
const NAME_ID_EMAIL = 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress'
const NAME_ID_TRANSIENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient'

export interface Subject {
  readonly nameId: string
  readonly nameIdFormat: string
  readonly attributes: readonly Attribute[]
}

const valuesOf = ({ attributes }: Subject, name: string): readonly string[] =>
  attributes.find((each) => each.name === name || each.friendlyName === name)?.values ?? []

const firstOf = (subject: Subject, names: readonly string[]): string | null => {
  for (const name of names) {
    const value = valuesOf(subject, name).find((text) => text !== '')
    if (value !== undefined) return value
  }
  return null
}

/** Who it is at the provider; null: nothing that stays the same at the next time. */
export function userIdOf(subject: Subject): string | null {
  const id = firstOf(subject, SUBJECT_ID)
  if (id !== null) return id
  return subject.nameIdFormat === NAME_ID_TRANSIENT || subject.nameId === '' ? null : subject.nameId
}

export function claimsOf(subject: Subject, mapping: Mapping): Json {
  const claims: Record<string, unknown> = {}
  for (const [claim, rule] of Object.entries(mapping)) {
    const names = [...(rule.name === undefined ? [] : [rule.name]), ...(rule.names ?? [])]
    const found = names.map((name) => valuesOf(subject, name)).find((values) => values.length > 0)
    if (found) claims[claim] = rule.array === true ? [...found] : found[0]
    else if (rule.default !== undefined) claims[claim] = rule.default
  }
  return claims
}

/** Lower case; null: none is said. */
export function emailOf(subject: Subject, claims: Json): string | null {
  const mapped = typeof claims.email === 'string' && claims.email !== '' ? claims.email : null
  const said = mapped ?? firstOf(subject, EMAIL) ?? (subject.nameIdFormat === NAME_ID_EMAIL ? subject.nameId : null)
  const email = said?.trim().toLowerCase() ?? ''
  return /^[^\s@]+@[^\s@]+$/.test(email) && email.length <= 255 ? email : null
}
