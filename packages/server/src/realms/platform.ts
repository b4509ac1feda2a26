import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import type { Kysely } from 'kysely'
import { sha256 } from '../base/crypto.ts'
import { fail, isSovraError } from '../base/errors.ts'
import { randomToken, uuid } from '../base/ids.ts'
import type { KeepAddress } from '../base/kept-address.ts'
import { budgetKey } from '../base/proxies.ts'
import { makeRate, type Rate } from '../base/rate.ts'
import type { Actor, Change, Changer } from '../metadata/change.ts'
import type { Tables } from '../metadata/tables.ts'
import { makeAttempts } from './attempts.ts'
import { denySession, PLATFORM } from './denied.ts'
import type { Hasher } from './hashing.ts'
import { platformStore } from './platform-store.ts'
import { REUSE_INTERVAL, refreshSession, type SessionRules, startSession } from './sessions.ts'
import type { RealmSession, RealmUser } from './store/types.ts'
import { CLOCK_SKEW, signToken, type VerificationSet, verifyToken } from './tokens.ts'
import { checkPassword, hashPassword, insertUser, mayEnter, type NewUser } from './users.ts'

/** Issuer and audience of members' sessions: fixed, so that changing the public URL signs nobody out. */
const ISSUER = 'sovrabase'
const AUDIENCE = 'sovrabase:members'
const KID = 'members'
const SESSION_TIME_BOX = 30 * 24 * 3_600_000
/** How long a link that signs an administrator in is good for. */
export const LINK_LIFE = 30 * 60_000
/** Failed sign-ins of one account from one address. */
const FAILURES = { amount: 10, window: 15 * 60_000 }
const HOUR = 3_600_000

type LinkKind = 'admin_link'

/** What a member gets at sign-in; times in seconds as OAuth has them. */
export interface MemberSession {
  readonly access_token: string
  readonly token_type: 'bearer'
  readonly expires_in: number
  readonly expires_at: number
  readonly refresh_token: string
  readonly user: { readonly id: string; readonly email: string | null }
}

interface MemberToken {
  readonly userId: string
  readonly sessionId: string
  /** ms */
  readonly expiresAt: number
  readonly aal: string
}

export interface Caller {
  readonly ip: string | null
  readonly userAgent: string | null
  readonly requestId: string | null
}

interface PlatformRealmOptions {
  readonly db: Kysely<Tables>
  readonly change: Changer
  readonly hasher: Hasher
  /** `jwt.secret`: signs members' sessions, and nothing else. */
  readonly jwtSecret: string
  /** `jwt.expiration` in ms. */
  readonly expiration: number
  /** What is kept of an address with a session. Default: all of it. */
  readonly keepAddress?: KeepAddress
  /** Failed sign-ins an hour from one address, of all accounts (limits.rates.failed_sign_ins). */
  readonly failedSignIns?: number
  readonly now?: () => number
}

const FAILED_SIGN_INS = 30

/** The realm whose users are the members. */
export interface PlatformRealm {
  /** For a transaction that makes a member together with other things; the hash comes from `hashPassword()` before it. */
  createUser(change: Change, user: NewUser): Promise<RealmUser>
  hashPassword(password: string): Promise<string>
  /** `invalid_credentials`, `sign_in_refused`, `rate_limited`, `too_many_sign_ins`. */
  signIn(email: string, password: string, caller: Caller): Promise<MemberSession>
  /** A session without a password: after an invitation, a set-up or a link was proved. */
  openSession(change: Change, user: RealmUser, caller: Caller): Promise<MemberSession>
  /** `refresh_token_not_found`, `refresh_token_already_used` (then the session is over), `sign_in_refused`. */
  refresh(refreshToken: string, caller: Caller): Promise<MemberSession>
  /** False: there was none. Its access tokens are refused on all nodes. */
  endSession(actor: Actor, sessionId: string): Promise<boolean>
  /** Also ends every other session of the member. */
  setPassword(actor: Actor, userId: string, password: string, keepSession: string | null): Promise<void>
  sessionsOf(userId: string): Promise<RealmSession[]>
  /** Throws `invalid_token` or `token_expired`; says nothing of the deny list. */
  verify(token: string): MemberToken
  /** The text goes into a URL; single use, LINK_LIFE long; the former one of its kind is void. */
  createLink(change: Change, userId: string, kind: LinkKind): Promise<string>
  /** `link_not_valid`. */
  useLink(kind: LinkKind, text: string, caller: Caller): Promise<MemberSession>
  /** How its sessions are signed and kept: for its auth API, which is that of projects. */
  readonly signing: MemberSigning
}

export interface MemberSigning {
  readonly issuer: string
  readonly audience: string
  readonly key: KeyObject
  readonly kid: string
  /** ms */
  readonly expiration: number
  readonly timeBox: number
  readonly hashRefreshToken: (text: string) => string
}

const actorOf = (userId: string, caller: Caller): Actor => ({ id: userId, kind: 'member', ip: caller.ip, requestId: caller.requestId })

export const makePlatformRealm = (options: PlatformRealmOptions): PlatformRealm => new Members(options)

class Members implements PlatformRealm {
  readonly #db: Kysely<Tables>
  readonly #change: Changer
  readonly #hasher: Hasher
  readonly #now: () => number
  readonly #keepAddress: KeepAddress
  readonly #verification: VerificationSet
  readonly #rules: SessionRules
  readonly #ofAccount: Rate
  readonly #ofAddress: Rate
  readonly #attempt = makeAttempts()
  readonly signing: MemberSigning

  constructor({
    db,
    change,
    hasher,
    jwtSecret,
    expiration,
    keepAddress,
    failedSignIns = FAILED_SIGN_INS,
    now = Date.now,
  }: PlatformRealmOptions) {
    const key = createSecretKey(Buffer.from(jwtSecret))
    // Keyed by the secret, so that changing it signs members out for good.
    const hashRefreshToken = (text: string) => createHmac('sha256', key).update(`refresh:${text}`).digest('hex')
    this.#db = db
    this.#change = change
    this.#hasher = hasher
    this.#now = now
    this.#keepAddress = keepAddress ?? ((ip) => ip)
    this.#verification = {
      byKid: new Map([[KID, { kid: KID, alg: 'HS256', key, trust: 'own', expiresAt: null }]]),
      shared: [],
      issuers: [ISSUER],
      audience: AUDIENCE,
    }
    this.#rules = {
      reuseInterval: REUSE_INTERVAL,
      timeBox: SESSION_TIME_BOX,
      newRefreshToken: () => randomToken(32),
      hashRefreshToken,
    }
    this.#ofAccount = makeRate({ ...FAILURES, now })
    this.#ofAddress = makeRate({ amount: failedSignIns, window: HOUR, now })
    this.signing = { issuer: ISSUER, audience: AUDIENCE, key, kid: KID, expiration, timeBox: SESSION_TIME_BOX, hashRefreshToken }
  }

  #tell(session: RealmSession, user: RealmUser, refreshToken: string): MemberSession {
    const { key, expiration } = this.signing
    const iat = Math.floor(this.#now() / 1000)
    const exp = iat + Math.floor(expiration / 1000)
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: user.id, session_id: session.id, aal: session.aal, iat, exp }
    return {
      access_token: signToken(claims, { alg: 'HS256', key, kid: KID }),
      token_type: 'bearer',
      expires_in: exp - iat,
      expires_at: exp,
      refresh_token: refreshToken,
      user: { id: user.id, email: user.email },
    }
  }

  async #end(c: Change, sessionId: string): Promise<boolean> {
    if (!(await platformStore(c.trx).deleteSession(sessionId))) return false
    await denySession(c, PLATFORM, sessionId, this.#now() + this.signing.expiration + CLOCK_SKEW * 1000)
    return true
  }

  async createUser(c: Change, user: NewUser): Promise<RealmUser> {
    const made = await insertUser(platformStore(c.trx), user, this.#now())
    await c.event({ name: 'user.created', subject: made.id })
    return made
  }

  hashPassword(password: string): Promise<string> {
    return hashPassword(this.#hasher, password)
  }

  async openSession(c: Change, user: RealmUser, caller: Caller): Promise<MemberSession> {
    const store = platformStore(c.trx)
    const now = this.#now()
    const of = { userId: user.id, userAgent: caller.userAgent, ip: this.#keepAddress(caller.ip) }
    const { session, refreshToken } = await startSession(store, this.#rules, of, now)
    await store.updateUser(user.id, { lastSignInAt: now }, now)
    await c.event({ name: 'session.created', subject: session.id })
    return this.#tell(session, user, refreshToken)
  }

  sessionsOf(userId: string): Promise<RealmSession[]> {
    return platformStore(this.#db).sessionsOf(userId)
  }

  async signIn(email: string, password: string, caller: Caller): Promise<MemberSession> {
    const address = caller.ip === null ? '' : budgetKey(caller.ip)
    const account = `${address} ${email.trim().toLowerCase()}`
    const leave = await this.#attempt(address, () => {
      const budgets = [this.#ofAccount.check(account), this.#ofAddress.check(address)]
      const wait = Math.max(...budgets.map(({ retryAfter }) => retryAfter))
      if (wait > 0) throw fail('rate_limited', { what: 'failed sign-ins' }, { headers: { 'retry-after': String(wait) } })
      return Math.min(...budgets.map(({ remaining }) => remaining))
    })
    const check = checkPassword(platformStore(this.#db), this.#hasher, email, password, this.#now())
    const { user, newHash } = await check
      .catch((error: unknown) => {
        if (isSovraError(error, 'invalid_credentials')) {
          this.#ofAccount.take(account)
          this.#ofAddress.take(address)
        }
        throw error
      })
      .finally(leave)
    return this.#change(actorOf(user.id, caller), async (c) => {
      if (newHash !== null) await platformStore(c.trx).updateUser(user.id, { passwordHash: newHash }, this.#now())
      return this.openSession(c, user, caller)
    })
  }

  async refresh(refreshToken: string, caller: Caller): Promise<MemberSession> {
    const known = await platformStore(this.#db).refreshToken(this.#rules.hashRefreshToken(refreshToken))
    const user = known ? await platformStore(this.#db).userById(known.userId) : null
    if (!user) throw fail('refresh_token_not_found')
    if (!mayEnter(user, this.#now())) throw fail('sign_in_refused')
    // Answers instead of throwing inside, so that the end of a stolen session is committed.
    const result = await this.#change(actorOf(user.id, caller), async (c) => {
      const refreshed = await refreshSession(platformStore(c.trx), this.#rules, refreshToken, this.#now())
      if (refreshed.kind === 'end') await this.#end(c, refreshed.sessionId)
      return refreshed
    })
    if (result.kind === 'refreshed') return this.#tell(result.session, user, result.refreshToken)
    throw fail(result.kind === 'end' && result.reason === 'reused' ? 'refresh_token_already_used' : 'refresh_token_not_found')
  }

  endSession(actor: Actor, sessionId: string): Promise<boolean> {
    return this.#change(actor, (c) => this.#end(c, sessionId))
  }

  async setPassword(actor: Actor, userId: string, password: string, keepSession: string | null): Promise<void> {
    const passwordHash = await hashPassword(this.#hasher, password)
    await this.#change(actor, async (c) => {
      const store = platformStore(c.trx)
      await store.updateUser(userId, { passwordHash }, this.#now())
      for (const session of await store.sessionsOf(userId)) if (session.id !== keepSession) await this.#end(c, session.id)
      await c.event({ name: 'user.updated', subject: userId })
    })
  }

  verify(token: string): MemberToken {
    const { claims, expiresAt } = verifyToken(token, this.#verification, this.#now())
    const { sub, session_id, aal } = claims
    if (typeof sub !== 'string' || typeof session_id !== 'string' || expiresAt === null)
      throw fail('invalid_token', { reason: 'it is not of a session' })
    return { userId: sub, sessionId: session_id, expiresAt, aal: aal === 'aal2' ? 'aal2' : 'aal1' }
  }

  async createLink(c: Change, userId: string, kind: LinkKind): Promise<string> {
    const text = randomToken(32)
    const store = platformStore(c.trx)
    await store.dropOneTimeTokens(userId, kind)
    const token = { id: uuid(), userId, kind, hash: sha256(text), relatesTo: userId, createdAt: this.#now(), otpHash: null, flowId: null }
    await store.insertOneTimeToken(token)
    await c.event({ name: 'admin_link.created', subject: userId })
    return text
  }

  async useLink(kind: LinkKind, text: string, caller: Caller): Promise<MemberSession> {
    const by: Actor = { id: 'link', kind: 'system', ip: caller.ip, requestId: caller.requestId }
    const session = await this.#change(by, async (c) => {
      const store = platformStore(c.trx)
      const token = await store.takeOneTimeToken(kind, sha256(text))
      const user = token ? await store.userById(token.userId) : null
      if (!token || !user || token.createdAt + LINK_LIFE <= this.#now() || !mayEnter(user, this.#now())) return null
      await c.event({ name: 'admin_link.used', subject: user.id })
      return this.openSession(c, user, caller)
    })
    if (!session) throw fail('link_not_valid')
    return session
  }
}
