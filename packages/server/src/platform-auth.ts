import { createHmac, createSecretKey } from 'node:crypto'
import type { AuthSettings } from '@sovrabase/contract/auth'
import type { FastifyRequest } from 'fastify'
import { type AuthApi, authApi } from './apis/auth/api.ts'
import type { AuthOptions } from './apis/auth/options.ts'
import { fail } from './base/errors.ts'
import { acceptInvitationsFor, invitationsFor } from './control/members/store.ts'
import type { Foundation } from './foundation.ts'
import { bearerOf } from './gateway/authenticate.ts'
import { type Actor, type Change, SYSTEM } from './metadata/change.ts'
import { readOwnSettings } from './metadata/settings.ts'
import type { Outsider } from './realms/auth/identities.ts'
import { type Denied, denySession, PLATFORM } from './realms/denied.ts'
import type { RealmKey } from './realms/keys.ts'
import type { PlatformRealm } from './realms/platform.ts'
import { platformStore } from './realms/platform-store.ts'
import { samlKeys } from './realms/saml/keys.ts'
import { keepingAddresses } from './realms/store/addresses.ts'
import { unraced } from './realms/store/raced.ts'
import type { RealmUser, SsoProvider } from './realms/store/types.ts'

interface PlatformAuthParts
  extends Pick<AuthOptions, 'bodyLimit' | 'version' | 'hasher' | 'now' | 'fetch' | 'leaked' | 'languages' | 'poke'> {
  readonly foundation: Foundation
  readonly realm: PlatformRealm
  readonly denied: Denied
  publicUrl(): string
}

/** What members may not do, whatever the settings say: they come by invitation, and are somebody. */
const CLOSED = { disable_signup: true, anonymous_users: false, email_autoconfirm: false } as const satisfies AuthSettings

/** Where `sovra login` listens for the answer of a browser: on this machine, on any port (RFC 8252 §7.3). */
const LOOPBACK = ['http://127.0.0.1:*/sovra', 'http://[::1]:*/sovra']

/**
 * Members are known by their address, whatever proves it: single sign-on opens the account that is there. An identity provider speaks for its
 * own domains alone, since any of them could name any address.
 */
const asMember = (outsider: Outsider, { domains }: SsoProvider): Outsider => ({
  ...outsider,
  sso: false,
  emailVerified: domains.includes(outsider.email?.split('@').at(-1) ?? ''),
})

function keysOf({ signing }: PlatformRealm, now: number): RealmKey[] {
  const key = { realm: PLATFORM, alg: 'HS256', state: 'current', publicKey: null, secret: null, createdAt: now, expiresAt: null } as const
  const pepper = createSecretKey(createHmac('sha256', signing.key).update('codes').digest())
  return [
    { ...key, kid: signing.kid, use: 'user', key: signing.key },
    { ...key, kid: 'codes', use: 'url', key: pepper },
  ]
}

/** The platform's settings of auth, read at start and whenever they change. */
async function settingsOf({ metadata, secrets, bus }: Foundation, realm: PlatformRealm): Promise<() => AuthSettings> {
  const read = async (): Promise<AuthSettings> => {
    const own = (await readOwnSettings(metadata.kysely, PLATFORM, secrets.vault)).auth as AuthSettings | undefined
    const { expiration, timeBox } = realm.signing
    return {
      session_timebox: timeBox / 1000,
      ...own,
      jwt_expiry: Math.floor(expiration / 1000),
      ...CLOSED,
      redirect_urls: [...(own?.redirect_urls ?? []), ...LOOPBACK],
    }
  }
  let settings = await read()
  bus.on(['settings.changed'], ({ subject, project_ref }) => {
    if (subject !== 'auth' || project_ref !== null) return
    // Where metadata is away the former ones hold.
    read().then(
      (fresh) => (settings = fresh),
      () => undefined,
    )
  })
  return () => settings
}

/** Members sign in at `/auth/v1` of the platform by the very code that users of projects do; their rows are in metadata. */
export async function platformAuthApi(parts: PlatformAuthParts): Promise<AuthApi> {
  const { foundation, realm, denied, publicUrl, ...rest } = parts
  const { change } = foundation
  const { signing } = realm
  const settings = await settingsOf(foundation, realm)
  const keys = keysOf(realm, rest.now())
  const samlBy: Actor = { ...SYSTEM, id: 'auth' }

  function holder(request: FastifyRequest) {
    const bearer = bearerOf(request.headers.authorization)
    if (bearer === undefined) return null
    const { userId, sessionId, aal } = realm.verify(bearer)
    if (denied.of(PLATFORM).has(sessionId)) throw fail('session_ended')
    return { kind: 'user' as const, claims: { sub: userId, aal }, sessionId }
  }

  function people(request: FastifyRequest) {
    const actor: Actor = { id: 'auth', kind: 'system', ip: request.ip, requestId: request.id }
    // What ends a session is told in the transaction that ends it: a database of one connection has no other.
    let open: Change | null = null
    const end = async (c: Change, ids: readonly string[], until: number) => {
      for (const id of ids) await denySession(c, PLATFORM, id, until)
    }
    return {
      audience: signing.audience,
      hashRefreshToken: signing.hashRefreshToken,
      transact: <R>(fn: (store: ReturnType<typeof platformStore>) => Promise<R>): Promise<R> =>
        unraced(() =>
          change(actor, async (c) => {
            open = c
            try {
              return await fn(keepingAddresses(platformStore(c.trx), foundation.keepAddress))
            } finally {
              open = null
            }
          }),
        ),
      ofSso: asMember,
      isInvited: async (email: string) => open !== null && (await invitationsFor(open.trx, email, open.now)).length > 0,
      async welcome(user: RealmUser) {
        if (open === null) throw fail('internal', {}, { cause: 'a member is made in a transaction' })
        await open.event({ name: 'user.created', subject: user.id })
        await acceptInvitationsFor(open, user)
      },
      deny: (ids: readonly string[], until: number) => (open ? end(open, ids, until) : change(actor, (c) => end(c, ids, until))),
    }
  }

  return authApi(
    {
      ...rest,
      project: () => ({
        ref: PLATFORM,
        url: publicUrl(),
        api: `${publicUrl()}/auth/v1`,
        issuer: signing.issuer,
        keys,
        settings: { auth: settings() },
      }),
      samlKeys: () => samlKeys({ db: foundation.metadata.kysely, vault: foundation.secrets.vault, change, realm: PLATFORM }, samlBy),
      principal: holder,
      people,
      administers: () => false,
    },
    { administered: false },
  )
}
