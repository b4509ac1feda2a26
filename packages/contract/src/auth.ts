import { type Static, Type } from 'typebox'
import { MAIL_KINDS, type MailKind } from './plain.ts'
import { CustomProviders, Providers } from './providers.ts'

/** Settings of `/auth/v1` of a project: section `auth`. Durations are whole seconds, as GoTrue's. */

const closed = { additionalProperties: false } as const
const seconds = (minimum: number, maximum: number, description: string) => Type.Optional(Type.Integer({ minimum, maximum, description }))
const orNever = (minimum: number, maximum: number, description: string) =>
  Type.Optional(Type.Union([Type.Integer({ minimum, maximum }), Type.Null()], { description }))
const onOff = (description: string) => Type.Optional(Type.Boolean({ description }))
const whole = (minimum: number, maximum: number, description: string) => Type.Optional(Type.Integer({ minimum, maximum, description }))
const line = (maxLength: number, description: string) =>
  Type.Optional(Type.String({ maxLength, pattern: '^[^\\r\\n\\u0000]*$', description }))

/** A folder of `realms/mail/languages`, or of the operator's own. */
export const MailLanguage = Type.String({
  maxLength: 35,
  pattern: '^[a-z]{2,3}(-[a-z0-9]{2,8})*$',
  description: 'Of mails, where neither request nor user say one: en, fr, or one that the installation has a folder for',
})

export const Template = Type.Object(
  {
    subject: line(255, 'Subject'),
    html: Type.Optional(Type.String({ maxLength: 65_536 })),
    text: Type.Optional(Type.String({ maxLength: 65_536 })),
  },
  closed,
)

export const Smtp = Type.Object(
  {
    host: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: 'Default: the server of the organisation, else of the platform, with the sender that is said here',
      }),
    ),
    port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, description: 'Default: 587, or 465 with tls' })),
    tls: Type.Optional(
      Type.Union([Type.Literal('implicit'), Type.Literal('starttls'), Type.Literal('opportunistic'), Type.Literal('none')], {
        description:
          'implicit: TLS from the first byte; starttls: demanded; opportunistic: where offered; none. Default: starttls, implicit on 465',
      }),
    ),
    user: line(255, 'None: a relay that asks for no name'),
    password: Type.Optional(Type.String({ maxLength: 1024, secret: true, description: 'Stored encrypted, never answered' })),
    from: Type.Optional(
      Type.String({
        maxLength: 320,
        pattern: '^[^\\s@<>,;"]+@[^\\s@<>,;"]+$',
        description: 'Address of the sender; must be there beside a host',
      }),
    ),
    from_name: line(128, 'Name of the sender'),
    reply_to: Type.Optional(Type.String({ maxLength: 320, pattern: '^[^\\s@<>,;"]+@[^\\s@<>,;"]+$', description: 'Where answers go' })),
  },
  closed,
)

/** What projects of an organisation inherit. */
export const OrganisationMail = Type.Object({ smtp: Type.Optional(Type.Union([Smtp, Type.Null()])) }, closed)

/** What is wrong with settings that are each well; null: nothing. */
export function conflictOf({ smtp }: { readonly smtp?: Smtp | undefined }): { readonly path: string; readonly reason: string } | null {
  if (!smtp) return null
  if (smtp.host !== undefined && smtp.from === undefined)
    return { path: '/smtp/from', reason: 'a mail server needs the address of a sender' }
  const ofServer = (['port', 'tls', 'user', 'password'] as const).find((name) => smtp[name] !== undefined)
  return smtp.host === undefined && ofServer ? { path: `/smtp/${ofServer}`, reason: 'it needs a host' } : null
}

/** What a project's own code may say at a step of auth. */
export const HOOKS = [
  'custom_access_token',
  'send_email',
  'send_sms',
  'password_verification_attempt',
  'mfa_verification_attempt',
  'before_user_created',
] as const
export type HookName = (typeof HOOKS)[number]

const Hook = Type.Object(
  {
    uri: Type.String({
      maxLength: 2048,
      pattern: '^(https?://[^\\s]+|pg-functions://postgres/[A-Za-z_][A-Za-z0-9_$]{0,62}/[A-Za-z_][A-Za-z0-9_$]{0,62})$',
      description: 'A URL, or a function of the database that takes and answers jsonb: pg-functions://postgres/<schema>/<function>',
    }),
    secret: Type.Optional(
      Type.String({
        maxLength: 1024,
        pattern: '^v1,whsec_[A-Za-z0-9+/=]{16,}([|]v1,whsec_[A-Za-z0-9+/=]{16,})*$',
        secret: true,
        description: 'Signs calls of a URL (standardwebhooks.com): v1,whsec_<base64>; several, parted by |, while one is replaced',
      }),
    ),
  },
  closed,
)

const Sms = Type.Object(
  {
    provider: Type.Union([Type.Literal('http'), Type.Literal('ovh'), Type.Literal('twilio')]),
    url: Type.Optional(
      Type.String({
        maxLength: 2048,
        pattern: '^https?://[^\\s]+$',
        description: 'http: where messages are POSTed; else another host of its API',
      }),
    ),
    secret: Type.Optional(
      Type.String({
        maxLength: 1024,
        secret: true,
        description: 'http: v1,whsec_<base64>, signs; ovh: application secret; twilio: auth token',
      }),
    ),
    account: line(128, 'ovh: name of the SMS service; twilio: account SID'),
    key: line(128, 'ovh: application key'),
    consumer_key: Type.Optional(Type.String({ maxLength: 1024, secret: true, description: 'ovh: consumer key' })),
    sender: line(64, 'Who it is from: a number, a name that the provider knows, or (twilio) the SID of a messaging service'),
  },
  closed,
)

const Captcha = Type.Object(
  {
    provider: Type.Union([Type.Literal('hcaptcha'), Type.Literal('turnstile')]),
    secret: Type.String({ minLength: 1, maxLength: 1024, secret: true, description: 'Stored encrypted, never answered' }),
    url: Type.Optional(Type.String({ maxLength: 2048, pattern: '^https?://[^\\s]+$', description: 'Another server of the same protocol' })),
  },
  closed,
)

const Passkeys = Type.Object(
  {
    enabled: Type.Boolean(),
    rp_id: Type.Optional(
      Type.String({
        maxLength: 253,
        pattern: '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$',
        description: 'Domain that passkeys belong to; default: the host of site_url. Another one later makes those that exist useless',
      }),
    ),
    rp_name: line(128, 'What browsers call it'),
    origins: Type.Optional(
      Type.Array(Type.String({ maxLength: 2048, pattern: '^(https?://[^\\s/]+|android:apk-key-hash:[A-Za-z0-9_-]+)$' }), {
        minItems: 1,
        maxItems: 20,
        description: 'Where pages may use them; default: the origin of site_url',
      }),
    ),
  },
  closed,
)

const Saml = Type.Object(
  {
    enabled: Type.Boolean(),
    allow_idp_initiated: onOff('Responses that nobody here asked for are taken; default: not'),
  },
  closed,
)

const ThirdParty = Type.Object(
  {
    issuer: Type.String({ maxLength: 2048, pattern: '^https?://[^\\s]+$', description: '`iss` of its tokens, word by word' }),
    jwks_url: Type.Optional(
      Type.String({
        maxLength: 2048,
        pattern: '^https?://[^\\s]+$',
        description: 'Its public keys; default: where its OpenID metadata says',
      }),
    ),
    audiences: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 512 }), {
        minItems: 1,
        maxItems: 20,
        description: 'Tokens are for one of these; none: for whomever, which is right only where the issuer is yours alone',
      }),
    ),
    role_claim: Type.Optional(
      Type.String({
        maxLength: 256,
        minLength: 1,
        description: 'Claim that names the role in the database; `a.b` leads into an object. Default: role',
      }),
    ),
    role: line(63, 'Of tokens without that claim. Default: authenticated'),
    roles: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 63 }), {
        maxItems: 50,
        description: 'That it may give; all others are refused. Default: anon, authenticated',
      }),
    ),
    enabled: onOff('Default: true'),
  },
  closed,
)

const Rates = Type.Object(
  {
    mails: whole(1, 100_000, 'Mails of the project in an hour'),
    sign_ins: whole(1, 100_000, 'Sign-ins by password from one address in 5 minutes'),
    failures: whole(1, 1_000, 'Wrong passwords of one account from one address in 15 minutes'),
    sign_ups: whole(1, 100_000, 'Sign-ups from one address in an hour'),
    anonymous: whole(1, 100_000, 'Anonymous sign-ins from one address in an hour'),
    refreshes: whole(1, 100_000, 'Token refreshes from one address in 5 minutes'),
    otps: whole(1, 100_000, 'Requests for links and codes from one address in 5 minutes'),
    sms: whole(1, 100_000, 'Text messages of the project in an hour'),
    verifications: whole(1, 100_000, 'Tries of links and codes from one address in 5 minutes'),
  },
  closed,
)

export const AuthSettings = Type.Object(
  {
    site_url: Type.Optional(
      Type.Union([Type.String({ maxLength: 2048, pattern: '^https?://[^\\s]+$' }), Type.Null()], {
        description: 'Where links of mails lead to when the request names nothing allowed; default: the URL of the project',
      }),
    ),
    redirect_urls: Type.Optional(
      Type.Array(Type.String({ minLength: 3, maxLength: 2048, pattern: '^[a-z][a-z0-9+._-]*://[^\\s]*$' }), {
        maxItems: 200,
        description:
          'Further URLs that links may lead to: `*` is any text without `.` and `/`, `**` any text, `?` one character, `[a-z]` and `[!a-z]` one of a range, `{a,b}` one of several, and a backslash makes the next character plain',
      }),
    ),
    disable_signup: onOff('Nobody new: only invited and administered users sign in'),
    email_enabled: onOff('Sign-up and sign-in by e-mail'),
    phone_enabled: onOff('Sign-up and sign-in by telephone'),
    email_autoconfirm: onOff('Addresses count as confirmed at once, without a mail'),
    secure_email_change: onOff('A change of address is confirmed at the old and at the new one'),
    anonymous_users: onOff('Sign-in without any proof, to be upgraded later'),
    jwt_expiry: seconds(60, 604_800, 'Life of an access token'),
    refresh_reuse_interval: seconds(0, 300, 'A refresh token that was just used works once more within this time'),
    session_timebox: orNever(60, 31_536_000, 'A session ends this long after its start; null: never'),
    session_inactivity: orNever(60, 31_536_000, 'A session ends when it was not refreshed for this long; null: never'),
    audit_retention: seconds(0, 315_360_000, 'Entries of the log of auth are kept for this long; 0: for good'),
    single_session: onOff('A sign-in ends the other sessions of the user'),
    password_min_length: whole(6, 72, 'Characters of a new password at least'),
    password_required: Type.Optional(
      Type.Union(
        [
          Type.Literal('none'),
          Type.Literal('letters_digits'),
          Type.Literal('lower_upper_digits'),
          Type.Literal('lower_upper_digits_symbols'),
        ],
        { description: 'Characters that a new password must have' },
      ),
    ),
    password_leaked: onOff('New passwords are looked up in a list of leaked ones, by the first 20 bits of their SHA-1 alone'),
    password_leaked_url: Type.Optional(
      Type.String({ maxLength: 2048, pattern: '^https?://[^\\s]+/$', description: 'A service with the range API of haveibeenpwned.com' }),
    ),
    secure_password_change: onOff('A new password needs a sign-in within the last 24 hours, or the code of a mail (reauthenticate)'),
    require_current_password: onOff('A new password needs the present one, unless the session began by a link or a code'),
    otp_length: whole(6, 10, 'Digits of codes in mails'),
    otp_expiry: seconds(60, 86_400, 'Life of links and codes in mails'),
    phone_autoconfirm: onOff('Telephone numbers count as confirmed at once, without a message'),
    sms: Type.Optional(Sms),
    sms_otp_length: whole(6, 10, 'Digits of codes in text messages'),
    sms_otp_expiry: seconds(30, 3_600, 'Life of codes in text messages'),
    sms_interval: seconds(0, 86_400, 'Time between two messages to one number'),
    sms_template: line(320, 'Text of a message; {{ .Code }} stands for the code'),
    sms_test_codes: Type.Optional(
      Type.Record(Type.String({ pattern: '^[1-9][0-9]{6,14}$' }), Type.String({ pattern: '^[0-9]{6,10}$' }), {
        maxProperties: 50,
        description: 'Numbers to which nothing is sent, and their code: for reviewers of app stores',
      }),
    ),
    mfa_webauthn: onOff('Users may add security keys and the like as a second factor; domain and origins are those of passkeys'),
    mfa_phone: onOff('Users may add a telephone number as a second factor'),
    mail_interval: seconds(0, 86_400, 'Time between two mails of one kind to one address'),
    rates: Type.Optional(Rates),
    unlimited_addresses: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 100,
        description: 'Addresses or CIDR ranges without a rate of their own: a hospital behind one address',
      }),
    ),
    mfa_totp: onOff('Users may add authenticator apps as a second factor'),
    mfa_enforced: Type.Optional(
      Type.Union([Type.Literal('off'), Type.Literal('enrolled'), Type.Literal('all')], {
        description:
          'Which users’ tokens are refused outside of /auth/v1 before a second factor was shown: nobody’s, of those who have one, of everybody',
      }),
    ),
    mfa_max_factors: whole(1, 50, 'Factors of one user at most'),
    captcha: Type.Optional(Captcha),
    hooks: Type.Optional(
      Type.Object(
        Object.fromEntries(HOOKS.map((name) => [name, Type.Optional(Hook)])) as Record<
          HookName,
          ReturnType<typeof Type.Optional<typeof Hook>>
        >,
        closed,
      ),
    ),
    passkeys: Type.Optional(Passkeys),
    saml: Type.Optional(Saml),
    third_party: Type.Optional(
      Type.Array(ThirdParty, { maxItems: 10, description: 'Issuers whose tokens are taken by the APIs of the project, but /auth/v1' }),
    ),
    providers: Type.Optional(Providers),
    custom_providers: Type.Optional(CustomProviders),
    manual_linking: onOff('Users may add and remove ways in by themselves (linkIdentity, unlinkIdentity)'),
    language: Type.Optional(MailLanguage),
    smtp: Type.Optional(Smtp),
    templates: Type.Optional(
      Type.Object(
        Object.fromEntries(MAIL_KINDS.map((kind) => [kind, Type.Optional(Template)])) as Record<
          MailKind,
          ReturnType<typeof Type.Optional<typeof Template>>
        >,
        closed,
      ),
    ),
  },
  closed,
)

export type AuthSettings = Static<typeof AuthSettings>
export type ThirdParty = Static<typeof ThirdParty>
export type Smtp = Static<typeof Smtp>
export type Hook = Static<typeof Hook>
export type Sms = Static<typeof Sms>
export type Template = Static<typeof Template>
export type AuthRates = Required<Static<typeof Rates>>

export const RATE_DEFAULTS: AuthRates = {
  mails: 100,
  sign_ins: 100,
  failures: 10,
  sign_ups: 60,
  anonymous: 30,
  refreshes: 300,
  otps: 30,
  sms: 30,
  verifications: 60,
}

export const AUTH_DEFAULTS = {
  site_url: null,
  redirect_urls: [],
  disable_signup: false,
  email_enabled: true,
  phone_enabled: false,
  email_autoconfirm: false,
  secure_email_change: true,
  anonymous_users: false,
  jwt_expiry: 3600,
  refresh_reuse_interval: 10,
  session_timebox: null,
  session_inactivity: null,
  audit_retention: 34_560_000,
  single_session: false,
  password_min_length: 6,
  password_required: 'none',
  password_leaked: false,
  password_leaked_url: 'https://api.pwnedpasswords.com/range/',
  secure_password_change: false,
  require_current_password: false,
  otp_length: 6,
  otp_expiry: 3600,
  phone_autoconfirm: false,
  sms_otp_length: 6,
  sms_otp_expiry: 300,
  sms_interval: 60,
  sms_test_codes: {},
  mfa_phone: false,
  mfa_webauthn: false,
  mail_interval: 60,
  unlimited_addresses: [],
  mfa_totp: true,
  mfa_enforced: 'off',
  mfa_max_factors: 10,
  manual_linking: false,
  language: 'en',
} as const satisfies AuthSettings
