import type { HookName } from '@sovrabase/contract/auth'
import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import { callUrl, demandNoError, functionOf } from '../hook-call.ts'
import type { Json, RealmStore, RealmUser } from '../store/types.ts'
import type { Realm } from './realm.ts'

/** Whether the project's own code is asked at this step. */
export const hasHook = ({ rules }: Pick<Realm, 'rules'>, name: HookName): boolean => rules.hooks?.[name] !== undefined

/** What all hooks get besides: which one this is, whose request it was. The names are those that the code of projects knows. */
const CALLED: Readonly<Record<HookName, string>> = {
  custom_access_token: 'customize-access-token',
  before_user_created: 'before-user-created',
  password_verification_attempt: 'password-verification',
  mfa_verification_attempt: 'mfa-verification',
  send_email: 'send-email',
  send_sms: 'send-sms',
}

export const withMetadata = (realm: Realm, name: HookName, payload: Json): Json => ({
  metadata: { uuid: uuid(), time: new Date(realm.now()).toISOString(), name: CALLED[name], ip_address: realm.caller.ip ?? '' },
  ...payload,
})

/** In the transaction of the caller, where the hook is a function of the database; null: there is none, or it is a URL. */
export async function hookInside(realm: Realm, store: RealmStore, name: HookName, payload: Json): Promise<Json | null> {
  const hook = realm.rules.hooks?.[name]
  const at = hook && functionOf(hook)
  return hook && at ? demandNoError(await store.callFunction(at.schema, at.name, withMetadata(realm, name, payload))) : null
}

/** Outside of any transaction, where the hook is a URL; null: there is none, or it is a function. */
export async function hookOutside(realm: Realm, name: HookName, payload: Json): Promise<Json | null> {
  const hook = realm.rules.hooks?.[name]
  return hook && !functionOf(hook) ? callUrl(realm.fetch, hook, withMetadata(realm, name, payload), realm.now()) : null
}

/** Whichever it is, with a transaction of its own; null: there is none. */
async function hookOf(realm: Realm, name: HookName, payload: Json): Promise<Json | null> {
  if (!hasHook(realm, name)) return null
  return (await hookOutside(realm, name, payload)) ?? realm.transact((store) => hookInside(realm, store, name, payload))
}

const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())

/** A user as hooks see it. */
export const userFor = (user: RealmUser): Json => ({
  id: user.id,
  aud: user.aud,
  role: user.role,
  email: user.email ?? '',
  phone: user.phone ?? '',
  new_email: user.emailChange ?? '',
  email_confirmed_at: time(user.emailConfirmedAt),
  phone_confirmed_at: time(user.phoneConfirmedAt),
  last_sign_in_at: time(user.lastSignInAt),
  app_metadata: user.appMetadata,
  user_metadata: user.userMetadata,
  identities: [],
  created_at: time(user.createdAt),
  updated_at: time(user.updatedAt),
  is_anonymous: user.anonymous,
})

/** Before somebody new is written; not in a transaction. The hook refuses by answering an error. */
export async function beforeUserCreated(realm: Realm, user: RealmUser): Promise<void> {
  if (!hasHook(realm, 'before_user_created')) return
  await hookOf(realm, 'before_user_created', { user: userFor(user) })
}

interface Decision {
  readonly reject: boolean
  readonly message: string
  readonly signOut: boolean
}

function decisionOf(answer: Json | null, otherwise: string): Decision {
  const { decision, message, should_logout_user } = answer ?? {}
  if (answer !== null && decision !== 'continue' && decision !== 'reject')
    throw fail('auth_hook_refused_500', { reason: 'A hook answered neither continue nor reject' })
  return {
    reject: decision === 'reject',
    message: typeof message === 'string' && message !== '' ? message.slice(0, 500) : otherwise,
    signOut: should_logout_user === true,
  }
}

/** After a password was looked at, right or wrong; not in a transaction. */
export const passwordAttempt = async (realm: Realm, userId: string, valid: boolean): Promise<Decision> =>
  decisionOf(
    await hookOf(realm, 'password_verification_attempt', { user_id: userId, valid }),
    'Further password verification attempts will be rejected.',
  )

/** After a code of a factor was looked at, right or wrong; not in a transaction. */
export const mfaAttempt = async (
  realm: Realm,
  attempt: { user_id: string; factor_id: string; factor_type: string; valid: boolean },
): Promise<Decision> =>
  decisionOf(await hookOf(realm, 'mfa_verification_attempt', attempt), 'Further MFA verification attempts will be rejected.')

const DEMANDED = ['aud', 'exp', 'iat', 'sub', 'email', 'phone', 'role', 'aal', 'session_id', 'is_anonymous']

/** What a hook made of the claims. Whose token it is, of which session and realm, is not its to say. */
export function claimsFrom(answer: Json, before: Json): Json {
  const { claims } = answer
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims))
    throw fail('auth_hook_refused_500', { reason: 'output claims field is missing' })
  const missing = DEMANDED.filter((name) => !Object.hasOwn(claims, name))
  if (missing.length > 0 || typeof (claims as Json).role !== 'string')
    throw fail('auth_hook_refused_500', {
      reason: `output claims do not conform to the expected schema: ${missing.map((name) => `${name} is required`).join(', ') || 'role is no text'}`,
    })
  return { ...claims, iss: before.iss, sub: before.sub, session_id: before.session_id }
}
