import { createHmac, createSecretKey } from 'node:crypto'
import type { Kysely } from 'kysely'
import { sha256 } from '../base/crypto.ts'
import { fail, isSovraError } from '../base/errors.ts'
import { randomToken, uuid } from '../base/ids.ts'
import { budgetKey } from '../base/proxies.ts'
import { makeRate } from '../base/rate.ts'
import type { Actor, Change, Changer } from '../metadata/change.ts'
import type { Tables } from '../metadata/tables.ts'
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
}

export function makePlatformRealm(options: PlatformRealmOptions): PlatformRealm {
  const { db, change, hasher, jwtSecret, expiration, failedSignIns = FAILED_SIGN_INS, now = Date.now } = options
  const key = createSecretKey(Buffer.from(jwtSecret))
  const set: VerificationSet = {
    byKid: new Map([[KID, { kid: KID, alg: 'HS256', key, trust: 'own', expiresAt: null }]]),
    shared: [],
    issuers: [ISSUER],
    audience: AUDIENCE,
  }
  const rules: SessionRules = {
    reuseInterval: REUSE_INTERVAL,
    timeBox: SESSION_TIME_BOX,
    newRefreshToken: () => randomToken(32),
    // Keyed by the secret, so that changing it signs members out for good.
    hashRefreshToken: (text) => createHmac('sha256', key).update(`refresh:${text}`).digest('hex'),
  }
  const ofAccount = makeRate({ ...FAILURES, now })
  const ofAddress = makeRate({ amount: failedSignIns, window: HOUR, now })

  const actorOf = (userId: string, caller: Caller): Actor => ({ id: userId, kind: 'member', ip: caller.ip, requestId: caller.requestId })

  function tell(session: RealmSession, user: RealmUser, refreshToken: string): MemberSession {
    const iat = Math.floor(now() / 1000)
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

  async function openSession(c: Change, user: RealmUser, caller: Caller): Promise<MemberSession> {
    const store = platformStore(c.trx)
    const { session, refreshToken } = await startSession(store, rules, { userId: user.id, ...caller }, now())
    await store.updateUser(user.id, { lastSignInAt: now() }, now())
    await c.event({ name: 'session.created', subject: session.id })
    return tell(session, user, refreshToken)
  }

  async function end(c: Change, sessionId: string): Promise<boolean> {
    if (!(await platformStore(c.trx).deleteSession(sessionId))) return false
    await denySession(c, PLATFORM, sessionId, now() + expiration + CLOCK_SKEW * 1000)
    return true
  }

  return {
    async createUser(c, user) {
      const made = await insertUser(platformStore(c.trx), user, now())
      await c.event({ name: 'user.created', subject: made.id })
      return made
    },
    hashPassword: (password) => hashPassword(hasher, password),
    openSession,
    sessionsOf: (userId) => platformStore(db).sessionsOf(userId),

    async signIn(email, password, caller) {
      const address = caller.ip === null ? '' : budgetKey(caller.ip)
      const account = `${address} ${email.trim().toLowerCase()}`
      const wait = Math.max(ofAccount.check(account).retryAfter, ofAddress.check(address).retryAfter)
      if (wait > 0) throw fail('rate_limited', { what: 'failed sign-ins' }, { headers: { 'retry-after': String(wait) } })
      const { user, newHash } = await checkPassword(platformStore(db), hasher, email, password, now()).catch((error: unknown) => {
        if (isSovraError(error, 'invalid_credentials')) {
          ofAccount.take(account)
          ofAddress.take(address)
        }
        throw error
      })
      return change(actorOf(user.id, caller), async (c) => {
        if (newHash !== null) await platformStore(c.trx).updateUser(user.id, { passwordHash: newHash }, now())
        return openSession(c, user, caller)
      })
    },

    async refresh(refreshToken, caller) {
      const known = await platformStore(db).refreshToken(rules.hashRefreshToken(refreshToken))
      const user = known ? await platformStore(db).userById(known.userId) : null
      if (!user) throw fail('refresh_token_not_found')
      if (!mayEnter(user, now())) throw fail('sign_in_refused')
      // Answers instead of throwing inside, so that the end of a stolen session is committed.
      const result = await change(actorOf(user.id, caller), async (c) => {
        const refreshed = await refreshSession(platformStore(c.trx), rules, refreshToken, now())
        if (refreshed.kind === 'end') await end(c, refreshed.sessionId)
        return refreshed
      })
      if (result.kind === 'refreshed') return tell(result.session, user, result.refreshToken)
      throw fail(result.kind === 'end' && result.reason === 'reused' ? 'refresh_token_already_used' : 'refresh_token_not_found')
    },

    endSession: (actor, sessionId) => change(actor, (c) => end(c, sessionId)),

    async setPassword(actor, userId, password, keepSession) {
      const passwordHash = await hashPassword(hasher, password)
      await change(actor, async (c) => {
        const store = platformStore(c.trx)
        await store.updateUser(userId, { passwordHash }, now())
        for (const session of await store.sessionsOf(userId)) if (session.id !== keepSession) await end(c, session.id)
        await c.event({ name: 'user.updated', subject: userId })
      })
    },

    verify(token) {
      const { claims, expiresAt } = verifyToken(token, set, now())
      const { sub, session_id } = claims
      if (typeof sub !== 'string' || typeof session_id !== 'string' || expiresAt === null)
        throw fail('invalid_token', { reason: 'it is not of a session' })
      return { userId: sub, sessionId: session_id, expiresAt }
    },

    async createLink(c, userId, kind) {
      const text = randomToken(32)
      await platformStore(c.trx).dropOneTimeTokens(userId, kind)
      await platformStore(c.trx).insertOneTimeToken({
        id: uuid(),
        userId,
        kind,
        hash: sha256(text),
        relatesTo: userId,
        createdAt: now(),
        otpHash: null,
        flowId: null,
      })
      await c.event({ name: 'admin_link.created', subject: userId })
      return text
    },

    async useLink(kind, text, caller) {
      const session = await change({ id: 'link', kind: 'system', ip: caller.ip, requestId: caller.requestId }, async (c) => {
        const store = platformStore(c.trx)
        const token = await store.takeOneTimeToken(kind, sha256(text))
        const user = token ? await store.userById(token.userId) : null
        if (!token || !user || token.createdAt + LINK_LIFE <= now() || !mayEnter(user, now())) return null
        await c.event({ name: 'admin_link.used', subject: user.id })
        return openSession(c, user, caller)
      })
      if (!session) throw fail('link_not_valid')
      return session
    },
  }
}
