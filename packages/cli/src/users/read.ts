import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { stop } from '../terminal/errors.ts'

export type Row = Readonly<Record<string, unknown>>
/** One row of a file on its way into a project. */
export interface Read {
  readonly what: 'users' | 'identities'
  readonly row: Row
  /** Where it stands, for people. */
  readonly at: string
  /** Why it is none. */
  readonly bad?: string
}

export const FORMATS = ['sovrabase', 'supabase', 'firebase', 'csv'] as const
export type Format = (typeof FORMATS)[number]

const notReadable = (file: string, reason: string): Error => stop('users_not_readable', { file, reason })

async function* chunksOf(file: string): AsyncGenerator<string> {
  try {
    for await (const chunk of createReadStream(file, { encoding: 'utf8' })) yield chunk as string
  } catch (cause) {
    throw notReadable(file, (cause as Error).message)
  }
}

async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of chunksOf(file)) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}

/** Throws where it is none. */
function parsed(text: string): Row {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('it is no object')
  return value as Row
}

/** One row, whatever it is. */
function rowOf(what: Read['what'], at: string, make: () => Row): Read {
  try {
    return { what, row: make(), at }
  } catch {
    return { what, row: {}, at, bad: 'it is no object of JSON' }
  }
}

/** What cannot be read is one row that is refused; a file that begins so is of another format. */
async function* wellBegun(file: string, rows: AsyncIterable<Read>): AsyncGenerator<Read> {
  let begun = false
  for await (const read of rows) {
    if (read.bad !== undefined && !begun) throw notReadable(file, `${read.at}: ${read.bad}`)
    begun = true
    yield read
  }
}

/** What `sovra auth export` writes: a user a line. */
async function* ours(file: string): AsyncGenerator<Read> {
  let number = 0
  for await (const line of linesOf(file)) {
    number++
    if (line.trim() !== '') yield rowOf('users', `line ${number}`, () => parsed(line))
  }
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }
/** A field of COPY's text format (https://www.postgresql.org/docs/18/sql-copy.html). */
const field = (text: string): string | null => (text === '\\N' ? null : text.replace(/\\(.)/g, (_, char: string) => ESCAPES[char] ?? char))

const COPY = /^COPY (?:"?auth"?\.)"?(users|identities)"? \(([^)]*)\) FROM stdin;/i
const JSON_COLUMNS: Readonly<Record<string, string>> = {
  raw_user_meta_data: 'user_metadata',
  raw_app_meta_data: 'app_metadata',
  identity_data: 'identity_data',
}
const BOOLEANS = new Set(['is_sso_user', 'is_anonymous'])

function fromColumns(columns: readonly string[], line: string): Row {
  const row: Record<string, unknown> = {}
  for (const [i, text] of line.split('\t').entries()) {
    const name = columns[i] ?? ''
    const value = field(text)
    if (value === null) continue
    const json = JSON_COLUMNS[name]
    if (json !== undefined) row[json] = parsed(value)
    else row[name] = BOOLEANS.has(name) ? value === 't' : value
  }
  return row
}

/** A dump (pg_dump, text) of a Supabase project: auth.users and auth.identities, with ids and passwords. */
async function* supabase(file: string): AsyncGenerator<Read> {
  let open: { what: Read['what']; columns: string[] } | null = null
  let number = 0
  for await (const line of linesOf(file)) {
    number++
    if (open === null) {
      const found = COPY.exec(line)
      if (found)
        open = {
          what: found[1]!.toLowerCase() as Read['what'],
          columns: found[2]!.split(',').map((name) => name.trim().replaceAll('"', '')),
        }
    } else if (line.startsWith('\\.')) open = null
    else {
      const at = `line ${number}`
      const { what, columns } = open
      const read = rowOf(what, at, () => fromColumns(columns, line.replace(/\r$/, '')))
      // Soft-deleted people have nothing left to bring. Identities come in their own table.
      if (read.row.deleted_at === undefined) yield what === 'users' ? { ...read, row: { ...read.row, identities: [] } } : read
    }
  }
}

/** Each object of the first array of a JSON file, without reading it whole. */
async function* objectsOf(file: string): AsyncGenerator<string> {
  let depth = 0
  let text = ''
  let quoted = false
  let escaped = false
  let within = false
  for await (const chunk of chunksOf(file)) {
    for (const char of chunk) {
      if (depth >= 1 && within) text += char
      if (escaped) escaped = false
      else if (quoted) {
        if (char === '\\') escaped = true
        else if (char === '"') quoted = false
      } else if (char === '"') quoted = true
      else if (char === '[' && !within) {
        within = true
        depth = 0
      } else if (within && (char === '{' || char === '[')) {
        if (depth++ === 0) text = char
      } else if (within && (char === '}' || char === ']')) {
        if (depth === 0) return
        if (--depth === 0) {
          yield text
          text = ''
        }
      }
    }
  }
}

/** Parameters of Firebase's scrypt, as its console shows them. */
interface FirebaseHash {
  readonly base64_signer_key: string
  readonly base64_salt_separator: string
  readonly rounds: number
  readonly mem_cost: number
}

/** Firebase's ids are no UUIDs: the same one gives the same id each time (RFC 9562, version 5). */
function uuidOf(text: string): string {
  const hash = createHash('sha1').update('sovrabase:firebase:').update(text).digest()
  hash[6] = (hash[6]! & 0x0f) | 0x50
  hash[8] = (hash[8]! & 0x3f) | 0x80
  const hex = hash.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-')
}

const iso = (ms: unknown): string | undefined => (Number(ms) > 0 ? new Date(Number(ms)).toISOString() : undefined)
const base64 = (text: unknown): string => Buffer.from(String(text ?? ''), 'base64').toString('base64')
/** Providers by the names that they have here. */
const named = (provider: string): string => provider.replace(/\.com$/, '')

function firebaseHash(user: Row, hash: FirebaseHash | null): Row {
  if (typeof user.passwordHash !== 'string' || user.passwordHash === '' || hash === null) return {}
  const { mem_cost, rounds, base64_salt_separator: ss, base64_signer_key: sk } = hash
  return {
    password_hash: `$fbscrypt$v=1,n=${mem_cost},r=${rounds},p=1,ss=${ss},sk=${sk}$${base64(user.salt)}$${base64(user.passwordHash)}`,
  }
}

function fromFirebase(user: Row, hash: FirebaseHash | null): Row {
  const created = iso(user.createdAt)
  const given = (Array.isArray(user.providerUserInfo) ? user.providerUserInfo : []) as Row[]
  const social = given.filter(({ providerId }) => providerId !== 'password' && providerId !== 'phone' && typeof providerId === 'string')
  const id = uuidOf(String(user.localId))
  const own = [
    ...(user.email
      ? [{ provider: 'email', provider_id: id, identity_data: { email: user.email, email_verified: user.emailVerified === true } }]
      : []),
    ...(user.phoneNumber ? [{ provider: 'phone', provider_id: id, identity_data: { phone: user.phoneNumber, phone_verified: true } }] : []),
  ]
  const claims = typeof user.customAttributes === 'string' && user.customAttributes !== '' ? { firebase_claims: user.customAttributes } : {}
  return {
    id,
    email: user.email,
    phone: user.phoneNumber,
    ...firebaseHash(user, hash),
    email_confirmed_at: user.emailVerified === true ? (created ?? new Date(0).toISOString()) : undefined,
    phone_confirmed_at: user.phoneNumber ? (created ?? new Date(0).toISOString()) : undefined,
    banned_until: user.disabled === true ? '9999-12-31T00:00:00Z' : undefined,
    created_at: created,
    last_sign_in_at: iso(user.lastSignedInAt),
    user_metadata: {
      ...(user.displayName ? { name: user.displayName, full_name: user.displayName } : {}),
      ...(user.photoUrl ? { avatar_url: user.photoUrl } : {}),
    },
    app_metadata: { firebase_uid: user.localId, ...claims },
    is_anonymous: !user.email && !user.phoneNumber && social.length === 0,
    identities: [
      ...own,
      ...social.map((one) => ({
        provider: named(String(one.providerId)),
        provider_id: String(one.rawId ?? ''),
        identity_data: { sub: one.rawId, email: one.email, full_name: one.displayName, avatar_url: one.photoUrl },
      })),
    ],
  }
}

function hashOf(file: string): FirebaseHash {
  try {
    return parsed(readFileSync(file, 'utf8')) as unknown as FirebaseHash
  } catch (cause) {
    throw notReadable(file, (cause as Error).message)
  }
}

async function* firebase(file: string, hashFile: string | undefined): AsyncGenerator<Read> {
  const hash = hashFile === undefined ? null : hashOf(hashFile)
  let number = 0
  for await (const text of objectsOf(file)) {
    const at = `user ${++number}`
    yield rowOf('users', at, () => fromFirebase(parsed(text), hash))
  }
}

/** The records of a CSV file (RFC 4180). */
async function* records(file: string): AsyncGenerator<string[]> {
  let record: string[] = []
  let text = ''
  let quoted = false
  let after = false
  for await (const chunk of chunksOf(file)) {
    for (const char of chunk) {
      if (quoted) {
        if (char === '"') {
          quoted = false
          after = true
        } else text += char
      } else if (char === '"') {
        if (after) text += char
        quoted = true
        after = false
      } else if (char === ',') {
        record.push(text)
        text = ''
        after = false
      } else if (char === '\n') {
        yield [...record, text]
        record = []
        text = ''
        after = false
      } else if (char !== '\r') text += char
    }
  }
  if (text !== '' || record.length > 0) yield [...record, text]
}

const KNOWN = new Set([
  'id',
  'email',
  'phone',
  'password_hash',
  'email_confirmed_at',
  'phone_confirmed_at',
  'role',
  'banned_until',
  'created_at',
  'last_sign_in_at',
])

/** A heading a column; `email_confirmed` and `phone_confirmed` are true or false, headings that are not known become metadata of the user. */
async function* csv(file: string): AsyncGenerator<Read> {
  let heading: string[] | null = null
  let number = 0
  for await (const record of records(file)) {
    number++
    if (heading === null) {
      heading = record.map((name) => name.trim().replace(/^\uFEFF/, ''))
      continue
    }
    if (record.length === 1 && record[0] === '') continue
    const row: Record<string, unknown> = {}
    const metadata: Record<string, string> = {}
    for (const [i, name] of heading.entries()) {
      const value = record[i] ?? ''
      if (value === '') continue
      if (KNOWN.has(name)) row[name] = value
      else if (name === 'email_confirmed' || name === 'phone_confirmed') {
        if (/^(true|t|1|yes)$/i.test(value)) row[`${name}_at`] = new Date().toISOString()
      } else metadata[name] = value
    }
    yield { what: 'users', row: { ...row, user_metadata: metadata }, at: `record ${number}` }
  }
}

/** The users of a file, one by one: it is never held whole. */
export function readUsers(file: string, format: Format, hashFile?: string): AsyncGenerator<Read> {
  if (format === 'csv') return csv(file)
  if (format === 'firebase') return wellBegun(file, firebase(file, hashFile))
  return wellBegun(file, format === 'supabase' ? supabase(file) : ours(file))
}
