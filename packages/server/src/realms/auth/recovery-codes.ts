import { createHmac, randomBytes } from 'node:crypto'
import { fail } from '../../base/errors.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import type { Holder } from './account.ts'
import { inSession, TRIES } from './factor-session.ts'
import { raise } from './factor-verify.ts'
import { type Draft, type Grant, granted } from './grants.ts'
import { audit, limitAddress, type Realm, tooMany } from './realm.ts'
import { base32 } from './totp.ts'

const RECOVERY_CODES = 10
const RECOVERY_BYTES = 10

const codeHash = (realm: Realm, userId: string, code: string): string =>
  createHmac('sha256', realm.pepper)
    .update(`recovery:${userId}:${code.toUpperCase().replace(/[^A-Z2-7]/g, '')}`)
    .digest('hex')

export interface RecoverySet {
  /** A user has one set: it is named by the user. */
  readonly id: string
  readonly total: number
}

/** A strong session, since codes are as good as what they stand for. */
async function strong(realm: Realm, store: RealmStore, holder: Holder): Promise<RealmUser> {
  const { user, session } = await inSession(realm, store, holder)
  if (session.aal !== 'aal2') throw fail('auth_insufficient_aal', { reason: 'AAL2 required to generate recovery codes' })
  return user
}

/** How many are left. Throws `auth_mfa_factor_not_found` where there are none. */
export async function recoveryStatus(realm: Realm, holder: Holder): Promise<RecoverySet & { readonly remaining: number }> {
  return realm.transact(async (store) => {
    const { user } = await inSession(realm, store, holder)
    const remaining = await store.countRecoveryCodes(user.id)
    if (remaining === 0) throw fail('auth_mfa_factor_not_found')
    return { id: user.id, total: RECOVERY_CODES, remaining }
  })
}

/** They are void from now on. Throws `auth_mfa_factor_not_found` where there are none. */
export async function dropRecoveryCodes(realm: Realm, holder: Holder): Promise<string> {
  return realm.transact(async (store) => {
    const user = await strong(realm, store, holder)
    if ((await store.countRecoveryCodes(user.id)) === 0) throw fail('auth_mfa_factor_not_found')
    await store.replaceRecoveryCodes(user.id, [], realm.now())
    await audit(realm, store, 'recovery_codes_deleted', user)
    return user.id
  })
}

/** Codes on paper, each good once in place of the app; the former ones are void. Shown now and never again. */
export async function makeRecoveryCodes(realm: Realm, holder: Holder): Promise<RecoverySet & { readonly codes: readonly string[] }> {
  return realm.transact(async (store) => {
    const user = await strong(realm, store, holder)
    const codes = Array.from({ length: RECOVERY_CODES }, () => base32(randomBytes(RECOVERY_BYTES)).replace(/(.{4})(?!$)/g, '$1-'))
    await store.replaceRecoveryCodes(
      user.id,
      codes.map((code) => codeHash(realm, user.id, code)),
      realm.now(),
    )
    await audit(realm, store, 'generate_recovery_codes', user)
    await store.giveBack(`recovery:${user.id}`)
    return { id: user.id, total: RECOVERY_CODES, codes }
  })
}

export async function useRecoveryCode(realm: Realm, holder: Holder, code: unknown): Promise<Grant> {
  await limitAddress(realm, 'verifications')
  const outcome = await realm.transact(async (store): Promise<Draft | number | null> => {
    const { user, session } = await inSession(realm, store, holder)
    const wait = await store.take(`recovery:${user.id}`, TRIES, realm.now())
    if (wait > 0) return wait
    if (typeof code !== 'string' || !(await store.useRecoveryCode(user.id, codeHash(realm, user.id, code)))) return null
    return raise(realm, store, user, session, { method: 'mfa/recovery_code', factorId: null })
  })
  if (typeof outcome === 'number') throw tooMany(outcome)
  if (!outcome) throw fail('auth_mfa_recovery_code_invalid')
  return granted(realm, outcome)
}
