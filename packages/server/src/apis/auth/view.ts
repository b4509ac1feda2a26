import type { Carried } from '../../realms/auth/flows.ts'
import type { Grant } from '../../realms/auth/grants.ts'
import type { Weakness } from '../../realms/auth/passwords.ts'
import type { Person } from '../../realms/auth/people.ts'
import type { AuditEntry, Factor, RealmIdentity, RealmSession } from '../../realms/store/types.ts'

/** The objects of the dialect. What has no value is left out, but where clients expect the key. */
const time = (ms: number): string => new Date(ms).toISOString()
const at = (name: string, ms: number | null): Record<string, string> => (ms === null ? {} : { [name]: time(ms) })

export const identityView = (identity: RealmIdentity) => ({
  identity_id: identity.id,
  id: identity.providerId,
  user_id: identity.userId,
  identity_data: identity.data,
  provider: identity.provider,
  ...at('last_sign_in_at', identity.lastSignInAt),
  created_at: time(identity.createdAt),
  updated_at: time(identity.updatedAt),
  ...(typeof identity.data.email === 'string' ? { email: identity.data.email } : {}),
})

/** Never the secret: it is shown once, when the factor is made. */
export const factorView = (factor: Factor) => ({
  id: factor.id,
  created_at: time(factor.createdAt),
  updated_at: time(factor.updatedAt),
  status: factor.status,
  ...(factor.name === null ? {} : { friendly_name: factor.name }),
  factor_type: factor.type,
  ...(factor.phone === null ? {} : { phone: factor.phone }),
  ...at('last_challenged_at', factor.lastChallengedAt),
})

export function userView({ user, identities, factors }: Person) {
  const confirmed = [user.emailConfirmedAt, user.phoneConfirmedAt].filter((ms) => ms !== null)
  return {
    id: user.id,
    aud: user.aud,
    role: user.role,
    email: user.email ?? '',
    ...at('email_confirmed_at', user.emailConfirmedAt),
    ...at('invited_at', user.invitedAt),
    phone: user.phone ?? '',
    ...at('phone_confirmed_at', user.phoneConfirmedAt),
    ...at('confirmation_sent_at', user.confirmationSentAt),
    ...at('confirmed_at', confirmed.length === 0 ? null : Math.min(...confirmed)),
    ...at('recovery_sent_at', user.recoverySentAt),
    ...(user.emailChange === null ? {} : { new_email: user.emailChange, ...at('email_change_sent_at', user.emailChangeSentAt) }),
    ...(user.phoneChange === null ? {} : { new_phone: user.phoneChange, ...at('phone_change_sent_at', user.phoneChangeSentAt) }),
    ...at('reauthentication_sent_at', user.reauthenticationSentAt),
    ...at('last_sign_in_at', user.lastSignInAt),
    app_metadata: user.appMetadata,
    user_metadata: user.userMetadata,
    ...(factors.length === 0 ? {} : { factors: factors.map(factorView) }),
    identities: identities.map(identityView),
    created_at: time(user.createdAt),
    updated_at: time(user.updatedAt),
    ...at('banned_until', user.bannedUntil),
    ...at('deleted_at', user.deletedAt),
    is_anonymous: user.anonymous,
  }
}

/** A session as its user and administrators see it: never a token. */
export const userSessionView = (session: RealmSession) => ({
  id: session.id,
  user_id: session.userId,
  created_at: time(session.createdAt),
  ...at('refreshed_at', session.refreshedAt),
  ...at('not_after', session.notAfter),
  aal: session.aal,
  user_agent: session.userAgent ?? '',
  ip: session.ip ?? '',
  ...(session.factorId === null ? {} : { factor_id: session.factorId }),
})

export const auditView = (entry: AuditEntry) => ({
  id: entry.id,
  payload: entry.payload,
  created_at: time(entry.createdAt),
  ip_address: entry.ip,
})

export const sessionView = (grant: Grant, weakness: Weakness | null = null) => ({
  access_token: grant.accessToken,
  token_type: 'bearer',
  expires_in: grant.expiresIn,
  expires_at: grant.expiresAt,
  refresh_token: grant.refreshToken,
  user: userView(grant.person),
  ...(weakness === null ? {} : { weak_password: { message: weakness.message, reasons: weakness.reasons } }),
})

/** The provider's own tokens, shown once: with the session that they came with. */
export const carriedView = (carried: Carried | null) => ({
  ...(carried?.providerToken ? { provider_token: carried.providerToken } : {}),
  ...(carried?.providerRefreshToken ? { provider_refresh_token: carried.providerRefreshToken } : {}),
})
