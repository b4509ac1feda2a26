import { fail } from '../../base/errors.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import { hasHook } from './hooks.ts'
import { write } from './mails.ts'
import { sendToken, type TokenKind } from './one-time.ts'
import { confirmEmail } from './people.ts'
import { type PkceChallenge, startFlow } from './pkce.ts'
import { audit, type Realm } from './realm.ts'

/** One of the two addresses has confirmed. */
export interface HalfChanged {
  readonly message: string
}

const HALF: HalfChanged = { message: 'Confirmation link accepted. Please proceed to confirm link sent to the other email' }

/** Whether the present address is asked too. */
const wantsBoth = ({ rules }: Realm, user: RealmUser): boolean =>
  rules.secure_email_change && !rules.email_autoconfirm && user.email !== null && user.emailConfirmedAt !== null

/** Sends what confirms a change of address: to the new one, and to the old one too where the realm wants both. */
export async function askEmailChange(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  newEmail: string,
  pkce: PkceChallenge | null,
  redirectTo: string | null,
): Promise<RealmUser> {
  const now = realm.now()
  const patch = { emailChange: newEmail, emailChangeSentAt: now, emailChangeStatus: 0 }
  await store.updateUser(user.id, patch, now)
  const both = wantsBoth(realm, user)
  await store.dropOneTimeTokens(user.id, 'email_change_token_current')
  const make = async (kind: TokenKind, address: string) => {
    const flow = await startFlow(realm, store, pkce, user.id, 'email_change')
    return sendToken(realm, store, user, kind, address, flow)
  }
  const message = { kind: 'email_change', user, type: 'email_change', redirectTo, newEmail } as const
  const sent = await make('email_change_token_new', newEmail)
  const current = both ? await make('email_change_token_current', user.email ?? '') : undefined
  await write(realm, store, { ...message, address: newEmail, sent, ...(current ? { current } : {}) })
  if (current && !hasHook(realm, 'send_email')) await write(realm, store, { ...message, address: user.email ?? '', sent: current })
  return { ...user, ...patch }
}

/** The addresses are proved one by one; with the last the change is made. Throws `auth_email_exists`. */
export async function completeEmailChange(
  realm: Realm,
  store: RealmStore,
  user: RealmUser,
  kind: TokenKind,
): Promise<RealmUser | HalfChanged> {
  const now = realm.now()
  const other = kind === 'email_change_token_new' ? 'email_change_token_current' : 'email_change_token_new'
  const waiting = await store.oneTimeToken(user.id, other)
  if (waiting) {
    await store.updateUser(user.id, { emailChangeStatus: 1 }, now)
    return HALF
  }
  const { emailChange } = user
  // Where both are wanted, one that ran out was proved by nobody.
  if (emailChange === null || (wantsBoth(realm, user) && user.emailChangeStatus !== 1)) throw fail('auth_otp_expired')
  const taken = await store.userByEmail(emailChange)
  if (taken && taken.id !== user.id) throw fail('auth_email_exists')
  const patch = { email: emailChange, emailConfirmedAt: now, emailChange: null, emailChangeStatus: 0 }
  await store.updateUser(user.id, patch, now)
  await audit(realm, store, 'user_modified', user)
  return confirmEmail(store, { ...user, ...patch }, now)
}
