import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import { blankUser } from '../users.ts'
import { type Draft, type Grant, granted, signIn } from './grants.ts'
import { beforeUserCreated, hasHook } from './hooks.ts'
import { write } from './mails.ts'
import { limitMails, sendToken } from './one-time.ts'
import { demandPassword, hashedNew } from './passwords.ts'
import { emailOf, insertPerson, isConfirmed, mergedMetadata, type Person, personOf } from './people.ts'
import { type PkceChallenge, startFlow } from './pkce.ts'
import { audit, level, limitAddress, newcomer, type Realm } from './realm.ts'

export interface SignUp {
  readonly email: unknown
  readonly phone?: unknown
  readonly password: unknown
  readonly data: unknown
  readonly redirectTo: string | null
  readonly pkce: PkceChallenge | null
}

interface Unconfirmed {
  readonly person: Person
}

export type SignedUp = { readonly grant: Grant } | Unconfirmed

/** A person who never was: what the owner of a taken address gets to see, so that the answer does not tell that it is taken. */
function nobody(email: string, metadata: RealmUser['userMetadata'], now: number): Person {
  const user = {
    ...blankUser(uuid(), now),
    email,
    role: '',
    userMetadata: metadata,
    appMetadata: { provider: 'email', providers: ['email'] },
    confirmationSentAt: now,
  }
  return { user, identities: [], factors: [] }
}

/** The mail that confirms the address of a new account. */
export async function sendConfirmation(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  pkce: PkceChallenge | null,
  redirectTo: string | null,
): Promise<RealmUser> {
  const now = realm.now()
  const address = user.email ?? ''
  const flow = await startFlow(realm, store, pkce, user.id, 'email/signup')
  const sent = await sendToken(realm, store, user, 'confirmation_token', address, flow)
  await store.updateUser(user.id, { confirmationSentAt: now }, now)
  await write(realm, store, { kind: 'confirmation', user, address, sent, type: 'signup', redirectTo })
  return { ...user, confirmationSentAt: now }
}

export async function signUp(realm: Realm, given: SignUp): Promise<SignedUp> {
  const { rules } = realm
  if (rules.disable_signup) throw fail('auth_signup_disabled')
  if (!rules.email_enabled) throw fail('auth_email_provider_disabled', { what: 'signups' })
  demandPassword(rules, given.password)
  if ((given.phone ?? '') !== '')
    throw fail('auth_validation_failed', { reason: 'Only an email address or phone number should be provided on signup.' })
  const email = emailOf(given.email)
  const metadata = mergedMetadata({}, given.data)
  await limitAddress(realm, 'sign_ups')
  return level(async () => {
    // Before anything is looked up: a taken address takes as long.
    const passwordHash = await hashedNew(realm, given.password)
    await askBefore(realm, email, metadata)
    if (!rules.email_autoconfirm) await limitMails(realm, 'confirmation', email)
    const made = await newcomer(realm, (store) => enter(realm, store, { email, passwordHash, metadata, given }))
    realm.poke()
    return 'claims' in made ? { grant: await granted(realm, made) } : made
  })
}

/** The project's own code looks at who is new, before anything of them is written. */
export async function askBefore(realm: Realm, email: string, metadata: RealmUser['userMetadata']): Promise<void> {
  if (!hasHook(realm, 'before_user_created')) return
  if (await realm.transact((store) => store.userByEmail(email))) return
  const appMetadata = { provider: 'email', providers: ['email'] }
  await beforeUserCreated(realm, { ...blankUser(uuid(), realm.now()), email, userMetadata: metadata, appMetadata })
}

interface Entering {
  readonly email: string
  readonly passwordHash: string
  readonly metadata: RealmUser['userMetadata']
  readonly given: SignUp
}

async function enter(realm: Realm, store: RealmStore, { email, passwordHash, metadata, given }: Entering): Promise<Draft | Unconfirmed> {
  const { email_autoconfirm } = realm.rules
  const now = realm.now()
  const known = await store.userByEmail(email)
  if (known && (email_autoconfirm || isConfirmed(known))) {
    await audit(realm, store, 'user_repeated_signup', known, { provider: 'email' })
    if (email_autoconfirm) throw fail('auth_user_already_exists')
    return { person: nobody(email, metadata, now) }
  }
  const user = known ?? (await insertPerson(store, { email, passwordHash, metadata, confirmedAt: email_autoconfirm ? now : null }, now))
  if (email_autoconfirm) {
    await audit(realm, store, 'user_signedup', user, { provider: 'email' })
    return signIn(realm, store, user, 'password')
  }
  // One who has not confirmed gets the mail again; nothing of the account changes, since nobody has proved to own the address.
  await audit(realm, store, 'user_confirmation_requested', user, { provider: 'email' })
  const person = await personOf(store, await sendConfirmation(realm, store, user, given.pkce, given.redirectTo))
  // What was written of somebody invited is not for whoever knows the address.
  return { person: user.invitedAt === null ? person : { ...person, user: { ...person.user, userMetadata: {} }, identities: [] } }
}

/** Someone without any proof; upgraded by `updateUser()`. */
export async function signInAnonymously(realm: Realm, data: unknown): Promise<Grant> {
  if (!realm.rules.anonymous_users) throw fail('auth_anonymous_provider_disabled')
  if (realm.rules.disable_signup) throw fail('auth_signup_disabled')
  const userMetadata = mergedMetadata({}, data)
  await limitAddress(realm, 'anonymous')
  const user: RealmUser = { ...blankUser(uuid(), realm.now()), userMetadata, anonymous: true }
  await beforeUserCreated(realm, user)
  const draft = await realm.transact(async (store) => {
    await store.insertUser(user)
    await audit(realm, store, 'user_signedup', user, { provider: 'anonymous' })
    return signIn(realm, store, user, 'anonymous')
  })
  return granted(realm, draft)
}
