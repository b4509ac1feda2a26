import { fail } from '../../base/errors.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import { linkOf, write } from './mails.ts'
import { type Sent, sendToken, type TokenKind } from './one-time.ts'
import { demandPassword, hashedNew } from './passwords.ts'
import { emailOf, insertPerson, mergedMetadata, type Person, personOf } from './people.ts'
import { auditOf, newcomer, type Realm } from './realm.ts'
import { redirectOf } from './redirects.ts'
import { askBefore } from './sign-up.ts'

/** What generate_link answers beside the user: the secrets of the mail that it does not send. */
export interface MadeLink {
  readonly person: Person
  readonly link: string
  readonly otp: string
  readonly token: string
  readonly type: string
  readonly redirectTo: string
}

export interface LinkWish {
  readonly type: unknown
  readonly email: unknown
  readonly newEmail: unknown
  readonly password: unknown
  readonly data: unknown
  readonly redirectTo: string | null
}

/** POST /invite: makes the person, whose address the mail confirms. */
export async function invite(realm: Realm, given: { email: unknown; data: unknown; redirectTo: string | null }): Promise<Person> {
  const email = emailOf(given.email)
  const metadata = mergedMetadata({}, given.data)
  await askBefore(realm, email, metadata)
  const person = await newcomer(realm, async (store) => {
    const user = await invited(realm, store, email, metadata)
    const sent = await sendToken(realm, store, user, 'confirmation_token', email)
    await write(realm, store, { kind: 'invite', user, address: email, sent, type: 'invite', redirectTo: given.redirectTo })
    return personOf(store, user)
  })
  realm.poke()
  return person
}

async function invited(realm: Realm, store: RealmStore, email: string, metadata: RealmUser['userMetadata']): Promise<RealmUser> {
  const now = realm.now()
  const known = await store.userByEmail(email)
  if (known?.emailConfirmedAt != null) throw fail('auth_email_exists')
  const user = known ?? (await insertPerson(store, { email, passwordHash: null, metadata, confirmedAt: null }, now))
  const patch = { invitedAt: now, confirmationSentAt: now }
  await store.updateUser(user.id, patch, now)
  await auditOf(realm, store, 'user_invited', user)
  return { ...user, ...patch }
}

interface Made {
  readonly user: RealmUser
  readonly sent: Sent
  /** Of the link: what the door calls it. */
  readonly type: string
}

type Maker = (realm: Realm, store: RealmStore, email: string, wish: LinkWish, passwordHash: string | null) => Promise<Made>

async function known(store: RealmStore, email: string): Promise<RealmUser> {
  const user = await store.userByEmail(email)
  if (!user) throw fail('auth_address_not_found')
  return user
}

const recovery =
  (type: 'magiclink' | 'recovery'): Maker =>
  async (realm, store, email, wish) => {
    const found = await store.userByEmail(email)
    // A magic link signs up who is not known yet, as GoTrue does.
    if (!found && type === 'magiclink') return MAKERS.signup!(realm, store, email, wish, null)
    const user = found ?? (await known(store, email))
    await store.updateUser(user.id, { recoverySentAt: realm.now() }, realm.now())
    await auditOf(realm, store, 'user_recovery_requested', user)
    return { user, sent: await sendToken(realm, store, user, 'recovery_token', email), type }
  }

const change =
  (kind: TokenKind): Maker =>
  async (realm, store, email, wish) => {
    const user = await known(store, email)
    const newEmail = emailOf(wish.newEmail)
    const taken = await store.userByEmail(newEmail)
    if (taken && taken.id !== user.id) throw fail('auth_email_exists')
    const now = realm.now()
    const again = user.emailChange === newEmail
    await store.updateUser(user.id, { emailChange: newEmail, emailChangeSentAt: now, ...(again ? {} : { emailChangeStatus: 0 }) }, now)
    await auditOf(realm, store, 'user_modified', user)
    const address = kind === 'email_change_token_new' ? newEmail : email
    return { user, sent: await sendToken(realm, store, user, kind, address), type: 'email_change' }
  }

const MAKERS: Readonly<Record<string, Maker>> = {
  async signup(realm, store, email, wish, passwordHash) {
    const found = await store.userByEmail(email)
    if (found?.emailConfirmedAt != null) throw fail('auth_email_exists')
    const now = realm.now()
    const metadata = mergedMetadata(found?.userMetadata ?? {}, wish.data)
    const user = found ?? (await insertPerson(store, { email, passwordHash, metadata, confirmedAt: null }, now))
    const patch = { userMetadata: metadata, confirmationSentAt: now }
    await store.updateUser(user.id, patch, now)
    await auditOf(realm, store, found ? 'user_confirmation_requested' : 'user_signedup', user)
    return { user: { ...user, ...patch }, sent: await sendToken(realm, store, user, 'confirmation_token', email), type: 'signup' }
  },
  async invite(realm, store, email, wish) {
    const user = await invited(realm, store, email, mergedMetadata({}, wish.data))
    return { user, sent: await sendToken(realm, store, user, 'confirmation_token', email), type: 'invite' }
  },
  magiclink: recovery('magiclink'),
  recovery: recovery('recovery'),
  email_change_current: change('email_change_token_current'),
  email_change_new: change('email_change_token_new'),
}

/** Who is there already has theirs, whatever is said. */
async function firstPassword(realm: Realm, email: string, password: unknown): Promise<string | null> {
  if (await realm.transact((store) => store.userByEmail(email))) return null
  demandPassword(realm.rules, password)
  return hashedNew(realm, password)
}

/** POST /admin/generate_link: nothing is sent, the administrator does that. */
export async function generateLink(realm: Realm, wish: LinkWish): Promise<MadeLink> {
  const maker = typeof wish.type === 'string' && Object.hasOwn(MAKERS, wish.type) ? MAKERS[wish.type] : undefined
  if (!maker)
    throw fail('auth_validation_failed', { reason: `Invalid email action link type requested: ${String(wish.type ?? '').slice(0, 40)}` })
  const email = emailOf(wish.email)
  const passwordHash = wish.type === 'signup' ? await firstPassword(realm, email, wish.password) : null
  if (wish.type === 'email_change_current' && !realm.rules.secure_email_change)
    throw fail('auth_validation_failed', { reason: 'Enable secure email change to generate link for current email' })
  // These make somebody who is not there, whom the project's own code looks at as at any other.
  if (['signup', 'invite', 'magiclink'].includes(String(wish.type))) await askBefore(realm, email, mergedMetadata({}, wish.data))
  return newcomer(realm, async (store) => {
    const { user, sent, type } = await maker(realm, store, email, wish, passwordHash)
    return {
      // As the link left them.
      person: await personOf(store, (await store.userById(user.id)) ?? user),
      link: linkOf(realm, type, sent.token, wish.redirectTo),
      otp: sent.otp,
      token: sent.token,
      type: String(type === 'signup' ? type : wish.type),
      redirectTo: redirectOf(realm.rules, realm.url, wish.redirectTo),
    }
  })
}
