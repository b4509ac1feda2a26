import type { KeyObject } from 'node:crypto'
import { sha256 } from '../../base/crypto.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import type { Outbound } from '../../base/outbound.ts'
import { budgetKey } from '../../base/proxies.ts'
import type { Hasher } from '../hashing.ts'
import type { RealmKey } from '../keys.ts'
import type { Languages } from '../mail/languages.ts'
import type { Caller } from '../platform.ts'
import type { AuditEntry, Json, RealmStore, RealmUser, SsoProvider, Taking } from '../store/types.ts'
import type { Outsider } from './identities.ts'
import type { LeakedList } from './leaked-list.ts'
import type { AuthRules } from './rules.ts'

/** A realm as one request sees it: who may come in and how, its keys, its people. */
export interface Realm {
  /** Canonical URL of the project, without a slash at its end. */
  readonly url: string
  /** `iss` of its tokens. */
  readonly issuer: string
  /** Where its API is, without a slash at its end: the issuer of a project, but not of the platform. */
  readonly api: string
  readonly rules: AuthRules
  /** Signs access tokens. */
  readonly key: RealmKey
  /** Keys the hashes of short codes, so that a copy of the database does not tell them. */
  readonly pepper: KeyObject
  readonly hasher: Hasher
  readonly now: () => number
  readonly caller: Caller & { readonly language: string | null }
  /** `aud` of its tokens; null: the user's own. */
  readonly audience: string | null
  /** How refresh tokens are kept where it is not by plain SHA-256. */
  readonly hashRefreshToken?: (text: string) => string
  /** The request carries a key that administers users. */
  readonly administers: boolean
  /** Where people of a single sign-on are the realm's own people and not a population beside. */
  readonly ofSso?: (outsider: Outsider, provider: SsoProvider) => Outsider
  /** Whether somebody new may come although nobody new may: they were invited. Asked inside a transaction. */
  readonly isInvited?: (email: string) => Promise<boolean>
  /** What somebody new gets besides an account; inside the transaction that makes it. */
  readonly welcome?: (user: RealmUser) => Promise<void>
  /** Of its mails. */
  readonly languages: Languages
  /** The outbound rule: to hooks, CAPTCHA services and the like. */
  readonly fetch: Outbound['fetch']
  /** The installation's own list of leaked passwords, asked in place of a service. */
  readonly leaked?: LeakedList | undefined
  /** Waits; injected, since it slows whoever guesses. */
  pause(ms: number): Promise<void>
  /** One transaction over the realm's people. */
  transact<R>(fn: (store: RealmStore) => Promise<R>): Promise<R>
  /** Refuses the access tokens of these sessions on all nodes until the last of them has expired. Called before the transaction that ends them commits. */
  deny(sessionIds: readonly string[]): Promise<void>
  /** Mails wait in the outbox. */
  poke(): void
}

export const MINUTE = 60_000
export const HOUR = 3_600_000

/** How GoTrue groups its audit entries. */
const LOG_TYPE: Readonly<Record<string, string>> = {
  login: 'account',
  logout: 'account',
  invite_accepted: 'account',
  user_signedup: 'team',
  user_invited: 'team',
  user_deleted: 'team',
  user_modified: 'user',
  user_updated_password: 'user',
  token_refreshed: 'token',
  token_revoked: 'token',
  sso_provider_created: 'sso_provider',
  sso_provider_updated: 'sso_provider',
  sso_provider_deleted: 'sso_provider',
  factor_in_progress: 'factor',
  factor_unenrolled: 'factor',
  factor_updated: 'factor',
  factor_deleted: 'factor',
  challenge_created: 'factor',
  verification_attempted: 'factor',
  mfa_code_login: 'factor',
  recovery_codes_deleted: 'recovery_codes',
}

interface Recorder extends Pick<Realm, 'now'> {
  readonly caller: Pick<Realm['caller'], 'ip'>
}

interface Actor extends Pick<RealmUser, 'id' | 'email' | 'phone' | 'sso'> {
  readonly userMetadata?: Json
}

/** One entry of the realm's own audit table: it never leaves the project. */
export function entryOf(realm: Recorder, action: string, actor: Actor, traits: Record<string, unknown> = {}): AuditEntry {
  const name = actor.userMetadata?.full_name
  const payload = {
    action,
    actor_id: actor.id,
    actor_username: actor.email ?? actor.phone ?? '',
    ...(typeof name === 'string' ? { actor_name: name } : {}),
    actor_via_sso: actor.sso,
    log_type: LOG_TYPE[action] ?? 'user',
    ...(Object.keys(traits).length === 0 ? {} : { traits }),
  }
  return { id: uuid(), payload, createdAt: realm.now(), ip: realm.caller.ip ?? '' }
}

export const audit = (
  realm: Realm,
  store: RealmStore,
  action: string,
  user: RealmUser,
  traits: Record<string, unknown> = {},
): Promise<void> => store.audit(entryOf(realm, action, user, traits))

/** Nobody of the realm: whoever holds a key that administers it. */
export const ADMINISTRATOR: Actor = { id: '00000000-0000-0000-0000-000000000000', email: 'service_role', phone: null, sso: false }

/** What an administrator did to somebody. */
export const auditOf = (
  realm: Realm,
  store: RealmStore,
  action: string,
  { id, email, phone }: RealmUser,
  traits: Record<string, unknown> = {},
): Promise<void> =>
  store.audit(entryOf(realm, action, ADMINISTRATOR, { user_id: id, user_email: email ?? '', user_phone: phone ?? '', ...traits }))

type IpRule = 'sign_ins' | 'sign_ups' | 'anonymous' | 'refreshes' | 'otps' | 'verifications'
const WINDOW: Readonly<Record<IpRule, number>> = {
  sign_ins: 5 * MINUTE,
  sign_ups: HOUR,
  anonymous: HOUR,
  refreshes: 5 * MINUTE,
  otps: 5 * MINUTE,
  verifications: 5 * MINUTE,
}

export const tooMany = (ms: number) =>
  fail('auth_over_request_rate_limit', {}, { headers: { 'retry-after': String(Math.max(1, Math.ceil(ms / 1000))) } })

/** Takes one from the budget of the caller's address, counted in the realm's own database. Throws `auth_over_request_rate_limit`. */
export async function limitAddress(realm: Realm, what: IpRule): Promise<void> {
  const wait = await realm.transact((store) => takeOfAddress(realm, store, what))
  if (wait > 0) throw tooMany(wait)
}

/** What is taken of the budget of the caller's address; null: it has none. */
export function takingOf({ caller: { ip }, rules }: Realm, what: IpRule): Taking | null {
  if (ip === null || rules.unlimited(ip)) return null
  return { key: `${what}:${budgetKey(ip)}`, rule: { amount: rules.rates[what], window: WINDOW[what] } }
}

/** In a transaction that commits in any case; answers ms to wait, 0 when taken. */
async function takeOfAddress(realm: Realm, store: RealmStore, what: IpRule): Promise<number> {
  const taking = takingOf(realm, what)
  return taking ? store.take(taking.key, taking.rule, realm.now()) : 0
}

/** A transaction that may make somebody. Of two at once for one address the later finds the other's and goes on with that. */
export async function newcomer<R>(realm: Realm, fn: (store: RealmStore) => Promise<R>): Promise<R> {
  try {
    return await realm.transact(fn)
  } catch (error) {
    if (isSovraError(error, 'auth_email_exists') || isSovraError(error, 'auth_phone_exists')) return realm.transact(fn)
    throw error
  }
}

/** Addresses of people are not kept as they are in counters. */
export const hidden = (text: string): string => sha256(text).slice(0, 32)

/**
 * Answers of doors that must not tell whether somebody is known come no sooner than this, whatever was to be done: sending is not waited for,
 * and what is left differs by less.
 */
const LEVEL = 60

export async function level<R>(work: () => Promise<R>): Promise<R> {
  const quiet = new Promise<void>((resolve) => setTimeout(resolve, LEVEL))
  try {
    return await work()
  } finally {
    await quiet
  }
}
