import { fail } from '../../base/errors.ts'
import { isUuid, uuid } from '../../base/ids.ts'
import type { Json, RealmIdentity, RealmStore, RealmUser } from '../store/types.ts'
import { blankUser, mayEnter } from '../users.ts'
import { type Holder, present } from './account.ts'
import { endSessionsOf } from './grants.ts'
import { beforeUserCreated, hasHook } from './hooks.ts'
import { mergedMetadata, withProvider } from './people.ts'
import { audit, type Realm } from './realm.ts'

/** Somebody as another service knows them: proved by it, not by us. */
export interface Outsider {
  /** `google`, `custom:acme`, `sso:<id>`. */
  readonly provider: string
  /** Their id there: it alone says who they are. */
  readonly id: string
  /** Lower case. */
  readonly email: string | null
  readonly emailVerified: boolean
  /** May come without a verified address. */
  readonly emailOptional: boolean
  /** As they are kept in `identity_data` and shown in `user_metadata`. */
  readonly claims: Json
  /** Of an organisation's single sign-on: such accounts are never joined with others by address. */
  readonly sso?: boolean
}

const needsVerification = (provider: string) => fail('auth_provider_email_needs_verification', { provider })

function identityFor(user: RealmUser, given: Outsider, now: number): RealmIdentity {
  const { provider, id, claims } = given
  return { id: uuid(), providerId: id, userId: user.id, data: claims, provider, lastSignInAt: now, createdAt: now, updatedAt: now }
}

const addIdentity = async (store: RealmStore, user: RealmUser, given: Outsider, now: number): Promise<void> => {
  if (!(await store.insertIdentity(identityFor(user, given, now)))) throw fail('auth_identity_already_exists')
}

/** The account of an address that was never confirmed: whoever began it does not keep a way into it. */
async function takeOver(realm: Realm, store: RealmStore, user: RealmUser): Promise<RealmUser> {
  if (user.phoneConfirmedAt !== null) throw fail('auth_email_exists')
  for (const { id } of await store.identitiesOf(user.id)) await store.deleteIdentity(id)
  for (const { id } of await store.factorsOf(user.id)) await store.deleteFactor(id)
  for (const kind of ['confirmation_token', 'recovery_token', 'email_change_token_new', 'email_change_token_current'])
    await store.dropOneTimeTokens(user.id, kind)
  await endSessionsOf(realm, store, user.id)
  const { provider: _, ...appMetadata } = user.appMetadata
  const patch = {
    passwordHash: null,
    emailConfirmedAt: realm.now(),
    emailChange: null,
    phone: null,
    // What an administrator said of somebody invited stays.
    userMetadata: user.invitedAt === null ? {} : user.userMetadata,
    appMetadata: { ...appMetadata, providers: [] },
  }
  await store.updateUser(user.id, patch, realm.now())
  return { ...user, ...patch }
}

async function joined(realm: Realm, store: RealmStore, user: RealmUser, given: Outsider): Promise<RealmUser> {
  const now = realm.now()
  await addIdentity(store, user, given, now)
  const patch = { ...withProvider(user, given.provider), userMetadata: mergedMetadata(user.userMetadata, shown(given)) }
  await store.updateUser(user.id, patch, now)
  return { ...user, ...patch }
}

/** `user_metadata` has no place for what only the identity is about. */
const shown = ({ claims }: Outsider): Json => claims

async function again(realm: Realm, store: RealmStore, identity: RealmIdentity, given: Outsider): Promise<RealmUser> {
  const now = realm.now()
  const user = await store.userById(identity.userId)
  if (!user) throw fail('auth_user_gone')
  if (!mayEnter(user, now)) throw fail('auth_sign_in_banned')
  const proved = given.emailVerified && given.email !== null && given.email === user.email
  if (!proved && user.email !== null && user.emailConfirmedAt === null && !realm.rules.email_autoconfirm && !given.emailOptional)
    throw needsVerification(given.provider)
  await store.updateIdentity(identity.id, { data: given.claims, lastSignInAt: now }, now)
  const patch = {
    userMetadata: mergedMetadata(user.userMetadata, shown(given)),
    emailConfirmedAt: proved ? (user.emailConfirmedAt ?? now) : user.emailConfirmedAt,
    // The organisation says who its people are.
    ...(given.sso && given.email !== null ? { email: given.email } : {}),
  }
  await store.updateUser(user.id, patch, now)
  return { ...user, ...patch }
}

/** Whether somebody new may come with this, and under which address. */
function newcomer(realm: Realm, given: Outsider, id: string, invited = false): RealmUser {
  const now = realm.now()
  if (realm.rules.disable_signup && !given.sso && !invited) throw fail('auth_signup_disabled')
  const proved = given.emailVerified || (given.email !== null && realm.rules.email_autoconfirm)
  const email = proved || given.sso ? given.email : null
  if (email === null && !given.emailOptional) {
    if (given.email !== null) throw needsVerification(given.provider)
    throw fail('auth_unexpected_failure', { reason: 'Error getting user email from external provider' })
  }
  return {
    ...blankUser(id, now),
    email,
    emailConfirmedAt: email === null ? null : now,
    userMetadata: mergedMetadata({}, shown(given)),
    appMetadata: { provider: given.provider, providers: [given.provider] },
    sso: given.sso ?? false,
  }
}

const ownerOf = async (store: RealmStore, { sso, email }: Outsider): Promise<RealmUser | null> =>
  sso || email === null ? null : store.userByEmail(email)

/** The project's own code looks at who is new; before the transaction that writes them. */
export async function askBeforeEntering(realm: Realm, given: Outsider): Promise<void> {
  if (!hasHook(realm, 'before_user_created')) return
  const known = await realm.transact(
    async (store) => (await store.identityOf(given.provider, given.id)) !== null || (await ownerOf(store, given)) !== null,
  )
  // Whether somebody was invited is asked by the transaction that makes them.
  if (!known) await beforeUserCreated(realm, newcomer(realm, given, uuid(), realm.isInvited !== undefined))
}

/**
 * The user that an account elsewhere stands for: known by its id there, joined by a verified address, or new. Throws
 * `auth_provider_email_needs_verification`, `auth_signup_disabled`, `auth_sign_in_banned`.
 */
export async function enterAs(realm: Realm, store: RealmStore, given: Outsider): Promise<RealmUser> {
  const known = await store.identityOf(given.provider, given.id)
  if (known) return again(realm, store, known, given)
  const owner = await ownerOf(store, given)
  if (owner) {
    if (!given.emailVerified) throw needsVerification(given.provider)
    if (!mayEnter(owner, realm.now())) throw fail('auth_sign_in_banned')
    const theirs = owner.emailConfirmedAt === null ? await takeOver(realm, store, owner) : owner
    await audit(realm, store, 'identity_linked', theirs, { provider: given.provider })
    return joined(realm, store, theirs, given)
  }
  const invited = given.emailVerified && given.email !== null && ((await realm.isInvited?.(given.email)) ?? false)
  const user = newcomer(realm, given, uuid(), invited)
  if (!(await store.insertUser(user))) throw fail('auth_email_exists')
  await addIdentity(store, user, given, realm.now())
  await audit(realm, store, 'user_signedup', user, { provider: given.provider })
  await realm.welcome?.(user)
  return user
}

/** Adds an account elsewhere to a user who is signed in. An anonymous one becomes a person by it. Throws `auth_identity_already_exists`. */
export async function linkTo(realm: Realm, store: RealmStore, userId: string, given: Outsider): Promise<RealmUser> {
  const user = await store.userById(userId)
  if (!user || !mayEnter(user, realm.now())) throw fail('auth_user_gone')
  const known = await store.identityOf(given.provider, given.id)
  if (known) throw fail(known.userId === user.id ? 'auth_identity_linked' : 'auth_identity_already_exists')
  const linked = await joined(realm, store, user, given)
  await audit(realm, store, 'identity_linked', user, { provider: given.provider })
  const takes = linked.email === null && given.email !== null && given.emailVerified && !(await store.userByEmail(given.email))
  if (!takes) return linked
  const patch = { email: given.email, emailConfirmedAt: realm.now() }
  await store.updateUser(user.id, patch, realm.now())
  return { ...linked, ...patch }
}

/** Throws `auth_manual_linking_disabled`, `auth_insufficient_aal`: an identity is a way into the account. */
export async function mayLink(realm: Realm, store: RealmStore, holder: Holder): Promise<RealmUser> {
  if (!realm.rules.manual_linking) throw fail('auth_manual_linking_disabled')
  const { user, session } = await present(realm, store, holder)
  if (user.sso) throw fail('auth_user_sso_managed')
  const strong = (session?.aal ?? holder.aal) === 'aal2'
  if (!strong && (await store.factorsOf(user.id)).some(({ status }) => status === 'verified'))
    throw fail('auth_insufficient_aal', { reason: 'AAL2 session is required to change identities when MFA is enabled.' })
  return user
}

const verifiedEmail = ({ data }: RealmIdentity): string | null =>
  typeof data.email === 'string' && data.email_verified === true ? data.email.toLowerCase() : null

/** Takes a way in away; never the last one. Without its mail identity a user has no password either. */
export async function unlink(realm: Realm, holder: Holder, identityId: string): Promise<void> {
  await realm.transact(async (store) => {
    const user = await mayLink(realm, store, holder)
    if (!isUuid(identityId)) throw fail('auth_id_malformed', { what: 'identity_id' })
    const all = await store.identitiesOf(user.id)
    if (all.length <= 1) throw fail('auth_single_identity_not_deletable')
    const gone = all.find(({ id }) => id === identityId.toLowerCase())
    if (!gone) throw fail('auth_identity_not_found')
    const left = all.filter(({ id }) => id !== gone.id)
    await store.deleteIdentity(gone.id)
    const emails = left.map(verifiedEmail).filter((email) => email !== null)
    const keeps = user.email === null || emails.includes(user.email) || left.some(({ provider }) => provider === 'email')
    const email = keeps ? user.email : (emails[0] ?? null)
    if (!keeps && email !== null && (await store.userByEmail(email))) throw fail('auth_email_conflict_identity_not_deletable')
    const providers = [...new Set(left.map(({ provider }) => provider))]
    await store.updateUser(
      user.id,
      {
        email,
        emailConfirmedAt: email === null ? null : user.emailConfirmedAt,
        ...(gone.provider === 'email' ? { passwordHash: null } : {}),
        ...(gone.provider === 'phone' ? { phone: null, phoneConfirmedAt: null } : {}),
        appMetadata: { ...user.appMetadata, provider: providers[0], providers },
      },
      realm.now(),
    )
    await audit(realm, store, 'identity_unlinked', user, { provider: gone.provider })
  })
}
