import { AUTH_DEFAULTS, AuthSettings, RATE_DEFAULTS } from '@sovrabase/contract/auth'

interface Shown {
  readonly type?: string
  readonly const?: unknown
  readonly description?: string
  readonly anyOf?: readonly Shown[]
  readonly properties?: Readonly<Record<string, Shown>>
  readonly patternProperties?: object
  readonly items?: Shown
  readonly minimum?: number
  readonly maximum?: number
  readonly secret?: boolean
}

const HEAD = `# Settings of auth

Made from the sources by \`npm run generate\`. They are rows of a project (or of the platform), changed by
\`PATCH /v1/projects/<ref>/settings/auth\` with a JSON merge patch (\`null\` takes a setting back to its default), and in force on all nodes at once.
[auth.md](auth.md) says how they work together. Durations are whole seconds. Secrets are stored encrypted and never answered.

`

function valuesOf(schema: Shown): string {
  if (schema.secret) return 'secret'
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.anyOf) return schema.anyOf.map(valuesOf).join(', ')
  if (schema.type === 'integer') return `${schema.minimum ?? ''}–${schema.maximum ?? ''}`
  if (schema.type === 'array') return `list of ${schema.items?.type === 'string' ? 'texts' : 'objects'}`
  if (schema.type === 'boolean') return 'true, false'
  return schema.type === 'null' ? 'null' : schema.patternProperties ? 'object' : (schema.type ?? '')
}

/** What GoTrue reads from its environment for the same, where it has it: for people who bring a project along. */
const GOTRUE: Readonly<Record<string, string>> = {
  site_url: 'SITE_URL',
  redirect_urls: 'URI_ALLOW_LIST',
  disable_signup: 'DISABLE_SIGNUP',
  email_enabled: 'EXTERNAL_EMAIL_ENABLED',
  phone_enabled: 'EXTERNAL_PHONE_ENABLED',
  email_autoconfirm: 'MAILER_AUTOCONFIRM',
  secure_email_change: 'MAILER_SECURE_EMAIL_CHANGE_ENABLED',
  anonymous_users: 'EXTERNAL_ANONYMOUS_USERS_ENABLED',
  jwt_expiry: 'JWT_EXP',
  refresh_reuse_interval: 'SECURITY_REFRESH_TOKEN_REUSE_INTERVAL',
  session_timebox: 'SESSIONS_TIMEBOX',
  session_inactivity: 'SESSIONS_INACTIVITY_TIMEOUT',
  single_session: 'SESSIONS_SINGLE_PER_USER',
  password_min_length: 'PASSWORD_MIN_LENGTH',
  password_required: 'PASSWORD_REQUIRED_CHARACTERS',
  password_leaked: 'PASSWORD_HIBP_ENABLED',
  secure_password_change: 'SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION',
  require_current_password: 'SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD',
  otp_length: 'MAILER_OTP_LENGTH',
  otp_expiry: 'MAILER_OTP_EXP',
  phone_autoconfirm: 'SMS_AUTOCONFIRM',
  'sms.provider': 'SMS_PROVIDER',
  sms_otp_length: 'SMS_OTP_LENGTH',
  sms_otp_expiry: 'SMS_OTP_EXP',
  sms_interval: 'SMS_MAX_FREQUENCY',
  sms_template: 'SMS_TEMPLATE',
  sms_test_codes: 'SMS_TEST_OTP',
  mfa_totp: 'MFA_TOTP_ENROLL_ENABLED',
  mfa_phone: 'MFA_PHONE_ENROLL_ENABLED',
  mfa_webauthn: 'MFA_WEB_AUTHN_ENROLL_ENABLED',
  mfa_max_factors: 'MFA_MAX_ENROLLED_FACTORS',
  mail_interval: 'SMTP_MAX_FREQUENCY',
  'rates.mails': 'RATE_LIMIT_EMAIL_SENT',
  'rates.sms': 'RATE_LIMIT_SMS_SENT',
  'rates.verifications': 'RATE_LIMIT_VERIFY',
  'rates.refreshes': 'RATE_LIMIT_TOKEN_REFRESH',
  'rates.otps': 'RATE_LIMIT_OTP',
  'rates.anonymous': 'RATE_LIMIT_ANONYMOUS_USERS',
  'captcha.provider': 'SECURITY_CAPTCHA_PROVIDER',
  'captcha.secret': 'SECURITY_CAPTCHA_SECRET',
  manual_linking: 'SECURITY_MANUAL_LINKING_ENABLED',
  'smtp.host': 'SMTP_HOST',
  'smtp.port': 'SMTP_PORT',
  'smtp.user': 'SMTP_USER',
  'smtp.password': 'SMTP_PASS',
  'smtp.from': 'SMTP_ADMIN_EMAIL',
  'smtp.from_name': 'SMTP_SENDER_NAME',
}

/** A value to show: what it is by default, else one that fits. */
function exampleOf(schema: Shown, standard: unknown): unknown {
  if (standard !== undefined && standard !== null) return typeof standard === 'boolean' ? !standard : standard
  const first = schema.anyOf?.find(({ type }) => type !== 'null') ?? schema
  if (first.const !== undefined) return first.const
  if (first.type === 'integer')
    return first.maximum === undefined ? first.minimum : Math.min(first.maximum, Math.max(first.minimum ?? 0, 3600))
  if (first.type === 'boolean') return true
  if (first.type === 'array') return []
  return first.patternProperties ? {} : '…'
}

const nested = (path: string, value: unknown): unknown => path.split('.').reduceRight((inner: unknown, name) => ({ [name]: inner }), value)

/** One section for one setting, with an anchor of its name. */
function page(path: string, schema: Shown, standard: unknown): string {
  const lines = [`## \`${path}\``, '', schema.description ? `${schema.description}.` : '', '']
  lines.push(`- Values: ${valuesOf(schema) || 'text'}`)
  lines.push(`- Default: ${standard === undefined ? 'not set' : `\`${JSON.stringify(standard)}\``}`)
  if (!path.includes('.'))
    lines.push(`- To set it: \`${JSON.stringify(nested(path, exampleOf(schema, standard)))}\`; back to the default: \`{"${path}":null}\``)
  if (GOTRUE[path]) lines.push(`- In GoTrue: \`GOTRUE_${GOTRUE[path]}\``)
  return lines.filter((line, i) => line !== '' || lines[i - 1] !== '').join('\n')
}

/** Providers are many and alike: one section stands for all. */
const ALIKE = { providers: 'apple', templates: 'confirmation', hooks: 'custom_access_token' } as Readonly<Record<string, string>>

function pages(schema: Shown, path: string, defaults: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const at = path + name
    if (!member.properties) return [page(at, member, defaults[name])]
    const sample = path === '' ? ALIKE[name] : undefined
    if (sample) {
      const names = Object.keys(member.properties).map((each) => `\`${each}\``)
      const one = pages(member.properties[sample] as Shown, `${at}.<name>.`, {})
      return [`## \`${at}\`\n\n${member.description ? `${member.description}. ` : ''}By name: ${names.join(', ')}.`, ...one]
    }
    const whole = `## \`${at}\`\n\n${member.description ? `${member.description}. ` : ''}An object; a change replaces it as a whole. Its parts:`
    return [whole, ...pages(member, `${at}.`, name === 'rates' ? { ...RATE_DEFAULTS } : {})]
  })
}

export const authSettingsReference = (): string => `${HEAD}${pages(AuthSettings as unknown as Shown, '', AUTH_DEFAULTS).join('\n\n')}\n`
