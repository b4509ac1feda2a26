import { fail } from '../../base/errors.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import { mayEnter } from '../users.ts'
import { askEmailChange } from './email-change.ts'
import { write } from './mails.ts'
import { limitMails, sendToken } from './one-time.ts'
import { emailOf, insertPerson, mergedMetadata } from './people.ts'
import { type PkceChallenge, startFlow } from './pkce.ts'
import { audit, level, limitAddress, newcomer, type Realm } from './realm.ts'
import { askBefore, sendConfirmation } from './sign-up.ts'

export interface LinkRequest {
  readonly email: unknown
  readonly redirectTo: string | null
  readonly pkce: PkceChallenge | null
}

/** The checks of every door that sends a mail to an address that anybody may name. */
async function atTheDoor(realm: Realm, email: unknown, kind: string): Promise<string> {
  if (!realm.rules.email_enabled) throw fail('auth_email_provider_disabled', { what: 'logins' })
  const address = emailOf(email)
  await limitAddress(realm, 'otps')
  await limitMails(realm, kind, address)
  return address
}

async function sendLink(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  what: 'magic_link' | 'recovery',
  request: LinkRequest,
): Promise<void> {
  const now = realm.now()
  const method = what === 'recovery' ? 'recovery' : 'magiclink'
  const address = user.email ?? ''
  const flow = await startFlow(realm, store, request.pkce, user.id, method)
  const sent = await sendToken(realm, store, user, 'recovery_token', address, flow)
  await store.updateUser(user.id, { recoverySentAt: now }, now)
  await audit(realm, store, 'user_recovery_requested', user)
  await write(realm, store, { kind: what, user, address, sent, type: method, redirectTo: request.redirectTo })
}

/** POST /recover: the same answer whether anybody has the address. */
export async function recover(realm: Realm, request: LinkRequest): Promise<void> {
  if ((request.email ?? '') === '') throw fail('auth_validation_failed', { reason: 'Password recovery requires an email' })
  const email = await atTheDoor(realm, request.email, 'recovery')
  await level(() =>
    realm.transact(async (store) => {
      const user = await store.userByEmail(email)
      if (user && mayEnter(user, realm.now())) await sendLink(realm, store, user, 'recovery', request)
    }),
  )
  realm.poke()
}

export interface OtpRequest extends LinkRequest {
  readonly data: unknown
  readonly createUser: boolean
}

/** POST /otp and /magiclink: a link and a code; a new person where sign-ups are open and wanted. */
export async function sendOtp(realm: Realm, request: OtpRequest): Promise<void> {
  const { rules } = realm
  if (!rules.email_enabled) throw fail('auth_logins_disabled_email')
  const metadata = mergedMetadata({}, request.data)
  const email = await atTheDoor(realm, request.email, 'magic_link')
  if (request.createUser && !rules.disable_signup) await askBefore(realm, email, metadata)
  await level(() =>
    newcomer(realm, async (store) => {
      const known = await store.userByEmail(email)
      if (!known && !request.createUser) throw fail('auth_otp_disabled')
      if (!known && rules.disable_signup) throw fail('auth_signup_disabled')
      if (known && !mayEnter(known, realm.now())) return
      const confirmedAt = rules.email_autoconfirm ? realm.now() : null
      const user = known ?? (await insertPerson(store, { email, passwordHash: null, metadata, confirmedAt }, realm.now()))
      if (user.emailConfirmedAt === null) await sendConfirmation(realm, store, user, request.pkce, request.redirectTo)
      else await sendLink(realm, store, user, 'magic_link', request)
    }),
  )
  realm.poke()
}

/** POST /resend: a mail that was sent before, once more. */
export async function resend(realm: Realm, type: 'signup' | 'email_change', request: LinkRequest): Promise<void> {
  const email = await atTheDoor(realm, request.email, type === 'signup' ? 'confirmation' : 'email_change')
  await level(() =>
    realm.transact(async (store) => {
      const user = await store.userByEmail(email)
      if (!user || !mayEnter(user, realm.now())) return
      if (type === 'signup' && user.emailConfirmedAt === null) await sendConfirmation(realm, store, user, request.pkce, request.redirectTo)
      if (type === 'email_change' && user.emailChange !== null)
        await askEmailChange(realm, store, user, user.emailChange, request.pkce, request.redirectTo)
    }),
  )
  realm.poke()
}
