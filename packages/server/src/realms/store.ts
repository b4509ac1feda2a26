/**
 * Where a realm keeps its people: the platform's in metadata, a project's in its own cluster. Times are ms since the epoch.
 * Each method is one statement or a few; transactions belong to the caller, who makes the store over one.
 */
export interface RealmUser {
  readonly id: string
  readonly aud: string
  readonly role: string
  /** Lower case. */
  readonly email: string | null
  readonly emailConfirmedAt: number | null
  /** PHC string; null: no password. */
  readonly passwordHash: string | null
  /** Platform realm: administers the installation. */
  readonly admin: boolean
  readonly appMetadata: Readonly<Record<string, unknown>>
  readonly userMetadata: Readonly<Record<string, unknown>>
  readonly bannedUntil: number | null
  readonly lastSignInAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly deletedAt: number | null
}

export type UserPatch = Partial<
  Pick<RealmUser, 'email' | 'emailConfirmedAt' | 'passwordHash' | 'admin' | 'userMetadata' | 'bannedUntil' | 'lastSignInAt' | 'deletedAt'>
>

export interface RealmSession {
  readonly id: string
  readonly userId: string
  readonly createdAt: number
  readonly refreshedAt: number | null
  /** The session ends here whatever is refreshed; null: never. */
  readonly notAfter: number | null
  readonly aal: string
  readonly userAgent: string | null
  readonly ip: string | null
}

export interface RefreshToken {
  readonly hash: string
  readonly userId: string
  readonly sessionId: string
  readonly revoked: boolean
  readonly parent: string | null
  readonly createdAt: number
  readonly updatedAt: number
}

export interface OneTimeToken {
  readonly id: string
  readonly userId: string
  /** What it is good for, and for nothing else: 'admin_link', 'recovery', … */
  readonly kind: string
  readonly hash: string
  /** Address or id that it was made for. */
  readonly relatesTo: string
  readonly createdAt: number
}

export interface RealmStore {
  insertUser(user: RealmUser): Promise<void>
  userById(id: string): Promise<RealmUser | null>
  /** Living users only. */
  userByEmail(email: string): Promise<RealmUser | null>
  updateUser(id: string, patch: UserPatch, now: number): Promise<void>

  insertSession(session: RealmSession): Promise<void>
  sessionById(id: string): Promise<RealmSession | null>
  sessionsOf(userId: string): Promise<RealmSession[]>
  refreshed(sessionId: string, now: number): Promise<void>
  /** With its refresh tokens; false: there was none. */
  deleteSession(id: string): Promise<boolean>

  insertRefreshToken(token: Omit<RefreshToken, 'revoked' | 'updatedAt'>): Promise<void>
  refreshToken(hash: string): Promise<RefreshToken | null>
  /** True for the one caller that revoked it. */
  revokeRefreshToken(hash: string, now: number): Promise<boolean>

  insertOneTimeToken(token: OneTimeToken): Promise<void>
  /** Those of a user and kind: there is one at a time. */
  dropOneTimeTokens(userId: string, kind: string): Promise<void>
  /** Removes it; the one caller that removed it gets it. */
  takeOneTimeToken(kind: string, hash: string): Promise<OneTimeToken | null>
}
