/**
 * Where a realm keeps its people: the platform's in metadata, a project's in its own cluster. Times are ms since the epoch.
 * Each method is one statement or a few; transactions belong to the caller, who makes the store over one.
 */
export type Json = Readonly<Record<string, unknown>>

export interface RealmUser {
  readonly id: string
  readonly aud: string
  readonly role: string
  /** Lower case. */
  readonly email: string | null
  readonly emailConfirmedAt: number | null
  /** PHC string, or the hash of another system; null: no password. */
  readonly passwordHash: string | null
  /** Platform realm: administers the installation. */
  readonly admin: boolean
  readonly appMetadata: Json
  readonly userMetadata: Json
  readonly bannedUntil: number | null
  readonly lastSignInAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly deletedAt: number | null
  readonly invitedAt: number | null
  readonly confirmationSentAt: number | null
  readonly recoverySentAt: number | null
  /** The address that it is to become. */
  readonly emailChange: string | null
  readonly emailChangeSentAt: number | null
  /** 1: one of the two addresses has confirmed. */
  readonly emailChangeStatus: number | null
  /** Digits of E.164 without the plus. */
  readonly phone: string | null
  readonly phoneConfirmedAt: number | null
  /** The number that it is to become. */
  readonly phoneChange: string | null
  readonly phoneChangeSentAt: number | null
  readonly reauthenticationSentAt: number | null
  readonly sso: boolean
  readonly anonymous: boolean
}

export type UserPatch = Partial<Omit<RealmUser, 'id' | 'createdAt' | 'updatedAt'>>

export interface RealmIdentity {
  readonly id: string
  /** The user's id at the provider. */
  readonly providerId: string
  readonly userId: string
  readonly data: Json
  readonly provider: string
  readonly lastSignInAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
}

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
  readonly factorId: string | null
}

export type SessionPatch = Partial<Pick<RealmSession, 'refreshedAt' | 'notAfter' | 'aal' | 'factorId'>>

/** How a session was proved, and when (RFC 8176 in spirit). */
export interface Proof {
  readonly method: string
  readonly at: number
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
  /** What it is good for, and for nothing else: 'admin_link', 'recovery_token', … */
  readonly kind: string
  readonly hash: string
  /** Address or id that it was made for. */
  readonly relatesTo: string
  readonly createdAt: number
  /** Of the short code beside the link. */
  readonly otpHash: string | null
  /** The PKCE flow that it ends in. */
  readonly flowId: string | null
}

/** A PKCE flow: its code is exchanged with the verifier (RFC 7636). */
export interface Flow {
  readonly id: string
  readonly userId: string | null
  /** SHA-256 of the code; unset until it was issued. */
  readonly codeHash: string
  readonly challenge: string
  readonly challengeMethod: string
  readonly provider: string
  readonly method: string
  readonly createdAt: number
  readonly issuedAt: number | null
  /** What its exchange gives besides a session; never in the clear. */
  readonly sealed: string | null
}

export interface Factor {
  readonly id: string
  readonly userId: string
  readonly name: string | null
  readonly type: string
  readonly status: string
  readonly secret: string | null
  readonly phone: string | null
  /** Of WebAuthn; null: none was made yet. */
  readonly credential: Json | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly lastChallengedAt: number | null
}

export interface Challenge {
  readonly id: string
  readonly factorId: string
  readonly createdAt: number
  readonly verifiedAt: number | null
  readonly ip: string
  /** Of the code that was sent to a telephone. */
  readonly otpHash: string | null
  /** Of a ceremony of WebAuthn. */
  readonly session: Json | null
}

export interface Passkey {
  readonly id: string
  readonly userId: string
  /** `\\x` and hex digits, as PostgreSQL writes bytes; so is the key, which is a COSE key. */
  readonly credentialId: string
  readonly publicKey: string
  readonly attestation: string
  readonly aaguid: string | null
  readonly signCount: number
  readonly transports: readonly string[]
  readonly backupEligible: boolean
  readonly backedUp: boolean
  readonly name: string
  readonly createdAt: number
  readonly updatedAt: number
  readonly lastUsedAt: number | null
}

/** A WebAuthn challenge that waits for its answer. */
export interface Ceremony {
  readonly id: string
  /** null: nobody is known yet. */
  readonly userId: string | null
  readonly kind: 'registration' | 'authentication'
  readonly data: Json
  readonly createdAt: number
  readonly expiresAt: number
}

export interface PasskeyStore {
  /** False: the credential is known. */
  insertPasskey(passkey: Passkey): Promise<boolean>
  passkeysOf(userId: string): Promise<Passkey[]>
  passkeyByCredential(credentialId: string): Promise<Passkey | null>
  updatePasskey(id: string, patch: Partial<Pick<Passkey, 'signCount' | 'backedUp' | 'name' | 'lastUsedAt'>>, now: number): Promise<void>
  deletePasskey(id: string): Promise<void>
  insertCeremony(ceremony: Ceremony): Promise<void>
  /** Removes it; the one caller that removed it gets it. */
  takeCeremony(id: string, kind: Ceremony['kind']): Promise<Ceremony | null>
}

/** An organisation's identity provider (SAML 2.0). */
export interface SsoProvider {
  readonly id: string
  readonly resourceId: string | null
  readonly disabled: boolean
  readonly entityId: string
  readonly metadataXml: string
  /** Where it is read anew; null: it was given as text. */
  readonly metadataUrl: string | null
  readonly mapping: Json
  readonly nameIdFormat: string | null
  /** When the metadata was read. */
  readonly fetchedAt: number
  /** Of addresses whose people it signs in, lower case. */
  readonly domains: readonly string[]
  readonly createdAt: number
  readonly updatedAt: number
}

export type SsoPatch = Partial<Omit<SsoProvider, 'id' | 'entityId' | 'createdAt' | 'updatedAt'>>

/** What is known of a request to an identity provider until its answer is here. */
export interface RelayState {
  readonly id: string
  readonly providerId: string
  readonly requestId: string
  readonly redirectTo: string | null
  readonly createdAt: number
  readonly flowId: string | null
}

export interface SsoStore {
  /** Throws `auth_saml_idp_already_exists`, `auth_sso_domain_already_exists`, `auth_conflict`. */
  insertSso(provider: SsoProvider): Promise<void>
  ssoById(id: string): Promise<SsoProvider | null>
  ssoByEntity(entityId: string): Promise<SsoProvider | null>
  ssoByDomain(domain: string): Promise<SsoProvider | null>
  allSso(): Promise<SsoProvider[]>
  /** Throws `auth_sso_domain_already_exists`. */
  updateSso(id: string, patch: SsoPatch, now: number): Promise<void>
  deleteSso(id: string): Promise<void>
  insertRelayState(state: RelayState): Promise<void>
  /** Removes it; the one caller that removed it gets it. */
  takeRelayState(id: string): Promise<RelayState | null>
}

/** As whom an identity provider knows the holder of a session (SAML core 2.0 §2.2.2, §2.7.2). */
export interface SamlSession {
  readonly sessionId: string
  readonly providerId: string
  readonly nameId: string
  readonly nameIdFormat: string | null
  readonly nameQualifier: string | null
  readonly spNameQualifier: string | null
  /** Of the provider's own session; null: it said none. */
  readonly sessionIndex: string | null
}

/** Rows go with their session. */
export interface SamlSessionStore {
  insertSamlSession(session: SamlSession, now: number): Promise<void>
  samlSession(sessionId: string): Promise<SamlSession | null>
  samlSessionsOf(providerId: string, nameId: string): Promise<SamlSession[]>
}

export interface AuditSearch {
  readonly fields: readonly string[]
  readonly text: string
}

export interface AuditEntry {
  readonly id: string
  readonly payload: Json
  readonly createdAt: number
  readonly ip: string
}

export interface Mail {
  readonly id: string
  readonly userId: string | null
  /** A kind of mail, `sms`, or `send_email` and `send_sms`: a call of a hook. */
  readonly kind: string
  readonly recipient: string
  readonly subject: string
  readonly html: string
  readonly text: string
  readonly state: 'waiting' | 'sending' | 'sent' | 'failed'
  readonly attempts: number
  readonly dueAt: number
  readonly expiresAt: number
  readonly createdAt: number
  readonly sentAt: number | null
  readonly lastError: string | null
}

export type MailPatch = Partial<Pick<Mail, 'state' | 'attempts' | 'dueAt' | 'sentAt' | 'lastError' | 'html' | 'text'>>

export interface Page {
  readonly limit: number
  readonly offset: number
}

export interface UserFilter {
  /** A part of the address or of the full name. */
  readonly text?: string
  readonly oldestFirst?: boolean
}

export interface UserStore {
  /** False: its id or address is taken. */
  insertUser(user: RealmUser): Promise<boolean>
  userById(id: string): Promise<RealmUser | null>
  /** Living users only, none of an SSO provider. */
  userByEmail(email: string): Promise<RealmUser | null>
  userByPhone(phone: string): Promise<RealmUser | null>
  /** Who asked to have this address. */
  userByEmailChange(email: string): Promise<RealmUser | null>
  userByPhoneChange(phone: string): Promise<RealmUser | null>
  updateUser(id: string, patch: UserPatch, now: number): Promise<void>
  /** With all that is theirs. */
  deleteUser(id: string): Promise<void>
  /** Newest first. */
  users(page: Page, of?: UserFilter): Promise<RealmUser[]>
  countUsers(of?: UserFilter): Promise<number>
  /** By id, those that follow one. */
  usersAfter(id: string | null, limit: number): Promise<RealmUser[]>

  /** Which of these are taken: ids, addresses, numbers of living users. */
  takenOf(of: { ids: readonly string[]; emails: readonly string[]; phones: readonly string[] }): Promise<Set<string>>
  /** Many at once; answers the ids of those that are there afterwards. */
  insertUsers(users: readonly RealmUser[]): Promise<Set<string>>
  insertIdentities(identities: readonly RealmIdentity[]): Promise<void>

  insertIdentity(identity: RealmIdentity): Promise<boolean>
  identityOf(provider: string, providerId: string): Promise<RealmIdentity | null>
  identitiesOf(userId: string): Promise<RealmIdentity[]>
  identitiesOfAll(userIds: readonly string[]): Promise<RealmIdentity[]>
  updateIdentity(id: string, patch: { providerId?: string; data?: Json; lastSignInAt?: number }, now: number): Promise<void>
  /** One that was used now; nothing where the user has none of it. */
  touchIdentity(userId: string, provider: string, now: number): Promise<void>
  deleteIdentity(id: string): Promise<void>
}

/** A refresh token with all that its exchange asks of. */
export interface Refreshing {
  readonly token: RefreshToken
  readonly session: RealmSession
  readonly proofs: readonly Proof[]
  readonly user: RealmUser
  readonly identities: readonly RealmIdentity[]
  readonly factors: readonly Factor[]
}

export interface SessionStore {
  insertSession(session: RealmSession): Promise<void>
  sessionById(id: string): Promise<RealmSession | null>
  /** Newest first. */
  sessionsOf(userId: string): Promise<RealmSession[]>
  refreshed(sessionId: string, now: number): Promise<void>
  updateSession(id: string, patch: SessionPatch, now: number): Promise<void>
  /** With its refresh tokens; false: there was none. */
  deleteSession(id: string): Promise<boolean>
  /** Once for each method; again moves its time. */
  addProof(sessionId: string, method: string, now: number): Promise<void>
  proofsOf(sessionId: string): Promise<Proof[]>

  insertRefreshToken(token: Omit<RefreshToken, 'revoked' | 'updatedAt'>): Promise<void>
  refreshToken(hash: string): Promise<RefreshToken | null>
  /** True for the one caller that revoked it. */
  revokeRefreshToken(hash: string, now: number): Promise<boolean>
}

/** One from a bucket of `amount` that fills up in `window` ms. */
export interface Taking {
  readonly key: string
  readonly rule: { readonly amount: number; readonly window: number }
}

/** A try to sign in, counted before the look. */
export interface Knock {
  /** Of the caller's address: where it is empty, nothing else is taken. null: it has no rate. */
  readonly address: Taking | null
  readonly failures: Taking
  readonly attempts: Taking
  readonly by: 'email' | 'phone'
  /** null: nobody has it. */
  readonly value: string | null
}

export interface Knocked {
  /** ms; 0: come in. */
  readonly wait: number
  /** How many attempts are taken. */
  readonly used: number
  readonly user: RealmUser | null
}

/** The exchange of a refresh token. */
export interface Rotation {
  readonly next: Omit<RefreshToken, 'revoked' | 'updatedAt'>
  /** To be revoked; null: it is. */
  readonly used: string | null
  readonly entry: AuditEntry
  readonly now: number
}

/** A session that begins: its first token, its proof, and that its user was here. */
export interface Beginning {
  readonly session: RealmSession
  /** Hash of its first refresh token. */
  readonly token: string
  readonly method: string
  /** What the password was proved against: it begins only while that is so, and nobody has shut the person out. Else as if the person were gone. */
  readonly proved?: string
  /** A better one. */
  readonly passwordHash?: string | null
  readonly entry?: AuditEntry
  /** Buckets that are full again. */
  readonly full?: readonly string[]
}

/**
 * What the ways of every day ask and write, each told whole, so that a database that can do it in one statement does. `last`: the transaction
 * ends with it.
 */
export interface DailyStore {
  /** `wait`: ms until there is one to be taken again. `known` is null where there is no such token, or its session or user is gone. */
  refreshing(hash: string, take: Taking | null, now: number): Promise<{ readonly wait: number; readonly known: Refreshing | null }>
  rotate(rotation: Rotation, last: boolean): Promise<void>
  knock(knock: Knock, now: number): Promise<Knocked>
  /** Answers what is the user's, as it is then. */
  begin(
    beginning: Beginning,
    last: boolean,
  ): Promise<{ readonly identities: readonly RealmIdentity[]; readonly factors: readonly Factor[] }>
}

export interface TokenStore {
  insertOneTimeToken(token: OneTimeToken): Promise<void>
  /** Those of a user and kind: there is one at a time. */
  dropOneTimeTokens(userId: string, kind: string): Promise<void>
  oneTimeToken(userId: string, kind: string): Promise<OneTimeToken | null>
  oneTimeTokenByHash(hash: string): Promise<OneTimeToken | null>
  /** Removes it; the one caller that removed it gets it. */
  takeOneTimeToken(kind: string, hash: string): Promise<OneTimeToken | null>

  insertFlow(flow: Flow): Promise<void>
  flowById(id: string): Promise<Flow | null>
  flowByCode(codeHash: string): Promise<Flow | null>
  issueCode(id: string, codeHash: string, userId: string, now: number): Promise<void>
  /** True for the one caller that removed it. */
  deleteFlow(id: string): Promise<boolean>
}

export interface FactorStore {
  insertFactor(factor: Factor): Promise<boolean>
  factorById(id: string): Promise<Factor | null>
  factorsOf(userId: string): Promise<Factor[]>
  factorsOfAll(userIds: readonly string[]): Promise<Factor[]>
  updateFactor(
    id: string,
    patch: Partial<Pick<Factor, 'phone' | 'status' | 'lastChallengedAt' | 'name' | 'credential'>>,
    now: number,
  ): Promise<void>
  deleteFactor(id: string): Promise<void>
  insertChallenge(challenge: Challenge): Promise<void>
  challengeById(id: string): Promise<Challenge | null>
  /** True for the one caller that used it. */
  useChallenge(id: string, now: number): Promise<boolean>
  /** Hashes of codes that are each good once; the former ones are void. */
  replaceRecoveryCodes(userId: string, hashes: readonly string[], now: number): Promise<void>
  /** True for the one caller that used it. */
  useRecoveryCode(userId: string, hash: string): Promise<boolean>
  countRecoveryCodes(userId: string): Promise<number>
}

export interface WorkStore {
  audit(entry: AuditEntry): Promise<void>
  /** Newest first; `search`: only those with this text in one of the fields (`actor_username`, `action`, …). */
  auditEntries(page: Page, search?: AuditSearch): Promise<AuditEntry[]>
  countAuditEntries(search?: AuditSearch): Promise<number>
  /** A function of the project's database that takes and answers jsonb, as the owner of `auth`. Throws `auth_hook_failed`, `auth_hook_timeout`. */
  callFunction(schema: string, name: string, payload: Json): Promise<Json>
  insertMail(mail: Mail): Promise<void>
  /** Newest first. */
  mails(page: Page): Promise<Mail[]>
  countMails(state: Mail['state'], now: number): Promise<number>
  /** Waiting ones of these kinds that are due, marked as being sent until `until`; those that nobody finished in time are taken again. */
  claimMails(now: number, until: number, limit: number, kinds: readonly string[]): Promise<Mail[]>
  /** When the next waiting one of these kinds is due; null: none. */
  nextMail(now: number, kinds: readonly string[]): Promise<number | null>
  updateMail(id: string, patch: MailPatch): Promise<void>
  /**
   * Takes one from a bucket of `amount` that fills up in `window` ms; answers ms until there is one again, 0 when taken.
   */
  take(key: string, rule: { amount: number; window: number }, now: number): Promise<number>
  /**
   * Whether `key` comes for the first time: it is kept until `until` (ms), and never good twice before, whichever way clocks are put. Of many
   * at once one is.
   */
  isFirst(key: string, until: number, now: number): Promise<boolean>
  /** How many of a bucket are taken at this moment. */
  used(key: string, rule: { amount: number; window: number }, now: number): Promise<number>
  /** The bucket is full again. */
  giveBack(key: string): Promise<void>
  /** Removes some of what has no use any more; answers whether there is more of it. */
  sweep(kept: Keeping, now: number): Promise<boolean>
}

/** What a realm itself says of how long things are kept; ms. */
export interface Keeping {
  /** Entries of its log; null: for good. */
  readonly audit: number | null
  /** How long a session may lie idle; null: it has no end. */
  readonly inactivity: number | null
}

export interface RealmStore
  extends UserStore,
    SessionStore,
    DailyStore,
    TokenStore,
    FactorStore,
    PasskeyStore,
    SsoStore,
    SamlSessionStore,
    WorkStore {}
