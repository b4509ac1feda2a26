import { fail } from '../../base/errors.ts'
import type { RealmSession, RealmStore, RealmUser } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { askEmailChange } from './email-change.ts'
import { endSessions, endSessionsOf } from './grants.ts'
import { write } from './mails.ts'
import { limitMails, limitSms, sendToken, takeOtp } from './one-time.ts'
import { busy, demandStrong, hashedNew } from './passwords.ts'
import { confirmEmail, emailOf, isConfirmed, mergedMetadata, type Person, personOf, phoneOf } from './people.ts'
import { changePhone, channelOf } from './phones.ts'
import type { PkceChallenge } from './pkce.ts'
import { audit, HOUR, type Realm } from './realm.ts'
import { writeSms } from './sms.ts'

/** Whose token it is: verified, but the person and the session may be gone. */
export interface Holder {
  readonly userId: string
  /** null: a token that the project's people signed themselves. */
  readonly sessionId: string | null
  readonly aal: string
}

export interface Present {
  readonly user: RealmUser
  readonly session: RealmSession | null
}

/** The living user and session of a token. Throws `auth_user_gone`, `auth_session_not_found`, `auth_user_banned`. */
export async function present(realm: Realm, store: RealmStore, holder: Holder): Promise<Present> {
  const user = await store.userById(holder.userId)
  if (!user || user.deletedAt !== null) throw fail('auth_user_gone')
  const session = holder.sessionId === null ? null : await store.sessionById(holder.sessionId)
  const over = session?.notAfter != null && session.notAfter <= realm.now()
  if (holder.sessionId !== null && (!session || over || session.userId !== user.id)) throw fail('auth_session_not_found')
  if (!mayEnter(user, realm.now())) throw fail('auth_user_banned')
  return { user, session }
}

export const readUser = (realm: Realm, holder: Holder): Promise<Person> =>
  realm.transact(async (store) => personOf(store, (await present(realm, store, holder)).user))

export interface UserChange {
  readonly email?: unknown
  readonly password?: unknown
  readonly data?: unknown
  readonly nonce?: unknown
  readonly current_password?: unknown
  readonly phone?: unknown
  readonly channel?: unknown
  readonly pkce: PkceChallenge | null
  readonly redirectTo: string | null
}

const given = (value: unknown): boolean => value !== undefined && value !== null && value !== ''
const RECENT = 24 * HOUR

/** PUT /user: only what is named here can be changed, so neither role nor `app_metadata` nor another's row. */
export async function updateUser(realm: Realm, holder: Holder, change: UserChange): Promise<Person> {
  const newPhone = given(change.phone) ? phoneOf(change.phone) : null
  if (newPhone !== null && !realm.rules.phone_enabled) throw fail('auth_phone_provider_disabled', { reason: 'Phone logins are disabled' })
  const channel = channelOf(realm, change.channel)
  const newEmail = given(change.email) ? emailOf(change.email) : null
  const before = await realm.transact((store) => allowed(realm, store, holder, { newEmail, newPhone, change }))
  const passwordHash = typeof change.password === 'string' ? await newPassword(realm, before, change) : null
  const asks = newEmail !== null && newEmail !== before.user.email
  const sends = asks && !countsAtOnce(realm, before.user)
  if (sends) await limitMails(realm, 'email_change', newEmail)
  const calls = newPhone !== null && newPhone !== before.user.phone
  if (calls && !realm.rules.phone_autoconfirm) await limitSms(realm, newPhone)
  const person = await realm.transact(async (store) => {
    const { user, session } = await present(realm, store, holder)
    let now = user
    if (change.data !== undefined) now = { ...now, userMetadata: mergedMetadata(now.userMetadata, change.data) }
    if (passwordHash !== null) now = { ...now, passwordHash }
    await store.updateUser(user.id, { userMetadata: now.userMetadata, passwordHash: now.passwordHash }, realm.now())
    if (asks) now = await changeEmail(realm, store, now, newEmail, change)
    if (calls) now = await changePhone(realm, store, now, newPhone, channel)
    if (passwordHash !== null) {
      await endSessionsOf(realm, store, user.id, session?.id)
      await audit(realm, store, 'user_updated_password', user)
    }
    await audit(realm, store, 'user_modified', user)
    return personOf(store, (await store.userById(user.id)) ?? now)
  })
  if (sends || calls) realm.poke()
  return person
}

/** Whoever is nobody yet signs up by naming an address; an address that people have changes by proof alone. */
const countsAtOnce = ({ rules }: Realm, user: RealmUser): boolean => rules.email_autoconfirm && user.anonymous

async function changeEmail(realm: Realm, store: RealmStore, user: RealmUser, email: string, change: UserChange): Promise<RealmUser> {
  if (await store.userByEmail(email)) throw fail('auth_email_exists')
  const now = realm.now()
  if (!countsAtOnce(realm, user)) return askEmailChange(realm, store, user, email, change.pkce, change.redirectTo)
  await store.updateUser(user.id, { email, emailConfirmedAt: now }, now)
  return confirmEmail(store, { ...user, email, emailConfirmedAt: now }, now)
}

interface Wish {
  readonly newEmail: string | null
  readonly newPhone: string | null
  readonly change: UserChange
}

/** A second factor that was set up guards password and address too. What they are already is no change. */
async function allowed(realm: Realm, store: RealmStore, holder: Holder, { newEmail, newPhone, change }: Wish): Promise<Present> {
  const found = await present(realm, store, holder)
  const moves = (newEmail !== null && newEmail !== found.user.email) || (newPhone !== null && newPhone !== found.user.phone)
  if (found.user.sso && (moves || given(change.password) || given(change.nonce))) throw fail('auth_user_sso_managed')
  if (!moves && !given(change.password)) return found
  const strong = (found.session?.aal ?? holder.aal) === 'aal2'
  if (!strong && (await store.factorsOf(found.user.id)).some(({ status }) => status === 'verified'))
    throw fail('auth_insufficient_aal', { reason: 'AAL2 session is required to update email or password when MFA is enabled.' })
  return found
}

/** The hash of a new password that the holder may set. Hashes outside of any transaction. */
async function newPassword(realm: Realm, { user, session }: Present, change: UserChange): Promise<string> {
  demandStrong(realm.rules, change.password)
  if (user.anonymous && !given(change.email) && !given(change.phone))
    throw fail('auth_unprocessable', { reason: 'Updating password of an anonymous user without an email or phone is not allowed' })
  await demandFresh(realm, user, session, change)
  const same = user.passwordHash !== null && (await busy(realm.hasher.verify(change.password, user.passwordHash))).ok
  if (same) throw fail('auth_same_password')
  return hashedNew(realm, change.password)
}

/** Where the realm wants it: a sign-in of late, or the code of a mail, or the password that is to be replaced. */
async function demandFresh(realm: Realm, user: RealmUser, session: RealmSession | null, change: UserChange): Promise<void> {
  if (given(change.current_password)) {
    const right = (await busy(realm.hasher.verify(String(change.current_password), user.passwordHash))).ok
    if (!right) throw fail('auth_current_password_invalid')
    return
  }
  if (realm.rules.require_current_password && user.passwordHash !== null && !(await recovering(realm, session)))
    throw fail('auth_current_password_required')
  if (!realm.rules.secure_password_change || (session !== null && session.createdAt + RECENT > realm.now())) return
  if (!given(change.nonce)) throw fail('auth_reauthentication_needed')
  const taken = await realm.transact((store) =>
    takeOtp(realm, store, user, ['reauthentication_token'], user.email ?? user.phone ?? '', String(change.nonce)),
  )
  if (!taken) throw fail('auth_reauthentication_not_valid')
}

const RECOVERED: readonly string[] = ['otp', 'magiclink', 'recovery']

/** Whoever came by a link or a code may have forgotten what they would be asked for. */
const recovering = async (realm: Realm, session: RealmSession | null): Promise<boolean> =>
  session !== null && (await realm.transact((store) => store.proofsOf(session.id))).some(({ method }) => RECOVERED.includes(method))

/** GET /reauthenticate: sends the code that a new password needs. Answers the id of a text message; null: it is a mail. */
export async function reauthenticate(realm: Realm, holder: Holder): Promise<string | null> {
  const { user } = await realm.transact((store) => present(realm, store, holder))
  const address = user.email ?? user.phone
  if (address === null)
    throw fail('auth_validation_failed', { reason: 'Reauthentication requires the user to have an email or a phone number' })
  if (user.email !== null && !isConfirmed(user)) throw fail('auth_verify_email_first')
  if (user.email === null && user.phoneConfirmedAt === null) throw fail('auth_verify_phone_first')
  if (user.email === null) await limitSms(realm, address)
  else await limitMails(realm, 'reauthentication', address)
  const message = await realm.transact(async (store) => {
    const sent = await sendToken(realm, store, user, 'reauthentication_token', address)
    await store.updateUser(user.id, { reauthenticationSentAt: realm.now() }, realm.now())
    await audit(realm, store, 'user_reauthenticate_requested', user)
    if (user.email === null) return writeSms(realm, store, { user, phone: address, code: sent.otp, channel: 'sms' })
    await write(realm, store, { kind: 'reauthentication', user, address, sent, type: 'reauthentication', redirectTo: null })
    return null
  })
  realm.poke()
  return message
}

export type LogoutScope = 'global' | 'local' | 'others'

export async function logout(realm: Realm, holder: Holder, scope: LogoutScope): Promise<void> {
  await realm.transact(async (store) => {
    const { user, session } = await present(realm, store, holder)
    const all = (await store.sessionsOf(user.id)).map(({ id }) => id)
    // A token that the project's people signed is of no session: it ends them all.
    const ending = scope === 'global' || session === null ? all : all.filter((id) => (id === session?.id) === (scope === 'local'))
    await endSessions(realm, store, ending)
    await audit(realm, store, 'logout', user)
  })
}
