import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import type { Kysely } from 'kysely'
import { expiringMap } from '../base/cache.ts'
import { safeEqual, sha256 } from '../base/crypto.ts'
import { fail } from '../base/errors.ts'
import type { Tables } from '../metadata/tables.ts'
import { ACCESS_TOKEN_PREFIX, findAccessToken, noteUse } from '../realms/access-tokens.ts'
import { type Denied, PLATFORM } from '../realms/denied.ts'
import { LOCAL_TOKEN_PREFIX } from '../realms/local-token.ts'
import type { PlatformRealm } from '../realms/platform.ts'
import { platformStore } from '../realms/platform-store.ts'
import { mayEnter } from '../realms/users.ts'
import { bearerOf } from './authenticate.ts'
import { checkOrigin, sessionCookie } from './cookie.ts'
import type { EventSource, Membership, PlatformPrincipal } from './types.ts'

const REMEMBERED = 5_000
/** ms that memberships are believed without an event. */
const BELIEVED = 60_000
const CHALLENGE = { 'www-authenticate': 'Bearer realm="sovrabase"' }
const DROPPING = [
  'token.revoked',
  'session.ended',
  'member.added',
  'member.updated',
  'member.removed',
  'invitation.accepted',
  'organisation.created',
  'organisation.deleted',
  'project.moved',
  'user.updated',
  'platform.set_up',
] as const

interface PlatformAuthenticating {
  readonly db: Kysely<Tables>
  readonly realm: PlatformRealm
  readonly denied: Denied
  readonly events: EventSource
  /** Text of the owner-only token file; null: none. */
  readonly localToken: string | null
  readonly now: () => number
}

export interface PlatformAuthenticator {
  /** A session's token, a personal access token, or the local token (loopback peers only). Rejects with a 401. */
  credential(text: string, peer: string | undefined): Promise<PlatformPrincipal>
  /** Bearer token, else the session cookie (state-changing requests: of this site only); null: no credentials. */
  authenticate(request: FastifyRequest): Promise<PlatformPrincipal | null>
}

const refuse = (code: 'invalid_token' | 'session_ended', reason: string): Error => fail(code, { reason }, { headers: CHALLENGE })

const LOCAL: PlatformPrincipal = {
  realm: 'platform',
  kind: 'local',
  id: 'local',
  email: null,
  admin: true,
  memberships: [],
  sessionId: null,
  tokenId: null,
}

const isLoopbackPeer = (address: string | undefined): boolean =>
  address !== undefined && (address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.'))

async function readMemberships(db: Kysely<Tables>, userId: string): Promise<Membership[]> {
  const rows = await db
    .selectFrom('memberships')
    .innerJoin('organisations', 'organisations.id', 'memberships.organisation_id')
    .select(['memberships.organisation_id', 'memberships.project_ref', 'memberships.role'])
    .where('memberships.user_id', '=', userId)
    .where('organisations.deleted_at', 'is', null)
    .execute()
  return rows.map((row) => ({ organisation: row.organisation_id, project: row.project_ref, role: row.role }))
}

interface Proof {
  readonly userId: string
  readonly kind: 'member' | 'token'
  readonly sessionId: string | null
  readonly tokenId: string | null
  readonly until: number
  /** Of a session; a token that was made by a strong one stands for itself. */
  readonly aal: string | null
}

export function makePlatformAuthenticator(options: PlatformAuthenticating): PlatformAuthenticator {
  const { db, realm, denied, events, localToken, now } = options
  const known = expiringMap<PlatformPrincipal>(REMEMBERED, now)
  // Grows with each event, so that what was read before it is not kept after it.
  let generation = 0
  events.on(DROPPING, () => {
    generation++
    known.clear()
  })

  async function prove(text: string): Promise<Proof> {
    if (text.startsWith(ACCESS_TOKEN_PREFIX)) {
      const token = await findAccessToken(db, text, now())
      if (!token) throw refuse('invalid_token', 'it is unknown, revoked or expired')
      await noteUse(db, token, now())
      const until = token.expiresAt ?? Number.POSITIVE_INFINITY
      return { userId: token.userId, kind: 'token', sessionId: null, tokenId: token.id, until, aal: null }
    }
    const { userId, sessionId, expiresAt, aal } = realm.verify(text)
    return { userId, kind: 'member', sessionId, tokenId: null, until: expiresAt, aal }
  }

  async function read(text: string): Promise<{ principal: PlatformPrincipal; until: number }> {
    const { userId, until, aal, ...proof } = await prove(text)
    const user = await platformStore(db).userById(userId)
    if (!user || !mayEnter(user, now())) throw refuse('invalid_token', 'its account is gone')
    if (aal === 'aal1' && (await platformStore(db).factorsOf(userId)).some(({ status }) => status === 'verified'))
      throw fail('mfa_required')
    const memberships = await readMemberships(db, userId)
    const principal: PlatformPrincipal = { realm: 'platform', id: userId, email: user.email, admin: user.admin, memberships, ...proof }
    return { principal, until }
  }

  async function credential(text: string, peer: string | undefined): Promise<PlatformPrincipal> {
    if (text.startsWith(LOCAL_TOKEN_PREFIX)) {
      if (localToken === null || !isLoopbackPeer(peer) || !safeEqual(text, localToken)) throw refuse('invalid_token', 'it is unknown')
      return LOCAL
    }
    const id = sha256(text)
    let principal = known.get(id)
    if (!principal) {
      const before = generation
      const found = await read(text)
      principal = found.principal
      if (before === generation) known.set(id, principal, Math.min(found.until, now() + BELIEVED))
    }
    if (principal.sessionId !== null && denied.of(PLATFORM).has(principal.sessionId)) throw refuse('session_ended', '')
    return principal
  }

  return {
    credential,
    async authenticate(request) {
      const bearer = bearerOf(request.headers.authorization)
      // A proxy on this machine is a loopback peer too: whom it speaks for must be as near.
      if (bearer !== undefined) return credential(bearer, isLoopbackPeer(request.socket.remoteAddress) ? request.ip : undefined)
      const cookie = sessionCookie(request.headers.cookie)
      if (cookie === undefined) return null
      checkOrigin(request)
      return credential(cookie, undefined)
    },
  }
}

/** onRequest of the platform's routes. */
export function platformHook(authenticator: PlatformAuthenticator) {
  return (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
    if (request.is404 || request.routeOptions.config.action === 'public') return done()
    authenticator.authenticate(request).then((principal) => {
      if (principal === null) return done(fail('unauthenticated', {}, { headers: CHALLENGE }))
      request.principal = principal
      done()
    }, done)
  }
}
