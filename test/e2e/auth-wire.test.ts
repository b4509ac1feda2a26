/** What the auth API answers to requests that are not quite right, word by word: applications match on it. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { SignJWT } from 'jose'
import { auth, lastMail, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'

let server: TestServer
let project: TestProject
const PASSWORD = 'correct horse battery'
const NEW = { 'x-supabase-api-version': '2024-01-01' }
const many = 10_000

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'wire')
  await settings(server, project, {
    mail_interval: 0,
    sms_interval: 0,
    phone_enabled: true,
    sms_test_codes: { '33600000001': '123456' },
    redirect_urls: ['https://*.example.com/**'],
    rates: { sign_ups: many, otps: many, verifications: many, sign_ins: many },
  })
})
after(() => server?.stop())

type Case = readonly [method: string, path: string, body: unknown, status: number, code: string, message: string]

async function hold(cases: readonly Case[], options: { token?: string; key?: string } = {}) {
  for (const [method, path, body, status, code, message] of cases) {
    const said = `${method} ${path} ${JSON.stringify(body)}`
    const answer = await auth(project, method, path, { ...options, headers: NEW, ...(body === undefined ? {} : { body }) })
    assert.deepEqual([answer.status, answer.body.code, answer.body.message], [status, code, message], said)
    assert.equal(answer.headers.get('x-sb-error-code'), code, said)
    assert.equal(answer.headers.get('x-supabase-api-version'), '2024-01-01', said)
  }
}

const invalid = (method: string, path: string, body: unknown, message: string): Case => [
  method,
  path,
  body,
  400,
  'validation_failed',
  message,
]
const unread = (method: string, path: string, body: unknown, reason: string): Case => [
  method,
  path,
  body,
  400,
  'bad_json',
  `Could not parse request body as JSON: ${reason}`,
]
const admin = () => ({ token: project.service, key: project.service })

test('sign-up and sign-in', async () => {
  const email = 'a@example.org'
  const phone = '+33600000009'
  const challenged = (code_challenge: string) => ({ email, password: PASSWORD, code_challenge, code_challenge_method: 's256' })
  await hold([
    unread('POST', '/signup', undefined, 'unexpected end of JSON input'),
    unread('POST', '/signup', '{', 'it is not JSON'),
    unread('POST', '/signup', '[]', 'it is not an object'),
    unread('POST', '/signup', { email, password: 123456 }, 'cannot read password as string'),
    unread('POST', '/signup', { email, password: PASSWORD, data: [] }, 'cannot read data as object'),
    ['POST', '/signup', {}, 422, 'anonymous_provider_disabled', 'Anonymous sign-ins are disabled'],
    invalid('POST', '/signup', { email }, 'Signup requires a valid password'),
    invalid('POST', '/signup', { email, password: '' }, 'Signup requires a valid password'),
    ['POST', '/signup', { email, password: 'a' }, 422, 'weak_password', 'Password should be at least 6 characters.'],
    invalid('POST', '/signup', { email: 'a', password: PASSWORD }, 'Unable to validate email address: invalid format'),
    invalid('POST', '/signup', { email, phone, password: PASSWORD }, 'Only an email address or phone number should be provided on signup.'),
    invalid('POST', '/signup', { phone: '0600', password: PASSWORD }, 'Invalid phone number format (E.164 required)'),
    invalid(
      'POST',
      '/signup',
      { phone, password: PASSWORD, channel: 'pigeon' },
      "Invalid channel, supported values are 'sms' or 'whatsapp'",
    ),
    invalid('POST', '/signup', { phone, password: PASSWORD, code_challenge: 'x' }, 'PKCE not supported for phone signups'),
    invalid(
      'POST',
      '/signup',
      { email, password: PASSWORD, code_challenge: 'x' },
      'PKCE flow requires code_challenge_method and code_challenge',
    ),
    unread('POST', '/token?grant_type=password', undefined, 'unexpected end of JSON input'),
    invalid(
      'POST',
      '/token?grant_type=password',
      { email, phone, password: PASSWORD },
      'Only an email address or phone number should be provided on login.',
    ),
    ['POST', '/token?grant_type=password', { email }, 400, 'invalid_credentials', 'Invalid login credentials'],
    ['POST', '/token?grant_type=password', { phone: 'abc', password: 'x' }, 400, 'invalid_credentials', 'Invalid login credentials'],
    [
      'POST',
      '/token?grant_type=refresh_token',
      { refresh_token: 'x' },
      400,
      'refresh_token_not_found',
      'Invalid Refresh Token: Refresh Token Not Found',
    ],
    invalid('POST', '/token?grant_type=pkce', {}, 'invalid request: both auth code and code verifier should be non-empty'),
    invalid('POST', '/signup', challenged('x'), 'code challenge has to be between 43 and 128 characters'),
    invalid(
      'POST',
      '/signup',
      challenged('!'.repeat(43)),
      'code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes',
    ),
    invalid('POST', '/token?grant_type=id_token', { provider: 'acme', id_token: 'x' }, 'Custom OIDC provider "acme" not allowed'),
    [
      'POST',
      '/token?grant_type=id_token',
      { provider: 'google', id_token: 'x' },
      400,
      'provider_disabled',
      'Provider (issuer "https://accounts.google.com") is not enabled',
    ],
  ])
  for (const [path, error, error_description, body = {}] of [
    ['/token?grant_type=nothing', 'unsupported_grant_type', ''],
    ['/token?grant_type=refresh_token', 'invalid_request', 'refresh_token required'],
    ['/token?grant_type=id_token', 'invalid request', 'id_token required'],
    ['/token?grant_type=id_token', 'invalid request', 'provider or client_id and issuer required', { id_token: 'x' }],
  ] as const) {
    const answer = await auth(project, 'POST', path, { body, headers: NEW })
    assert.deepEqual([answer.status, answer.body], [400, { error, error_description }])
  }
  await settings(server, project, { email_enabled: false, phone_enabled: false })
  await hold([
    ['POST', '/token?grant_type=password', { email, password: 'x' }, 422, 'email_provider_disabled', 'Email logins are disabled'],
    ['POST', '/token?grant_type=password', { phone, password: 'x' }, 422, 'phone_provider_disabled', 'Phone logins are disabled'],
    ['POST', '/signup', { email, password: PASSWORD }, 400, 'email_provider_disabled', 'Email signups are disabled'],
    ['POST', '/signup', { phone, password: PASSWORD }, 400, 'phone_provider_disabled', 'Phone signups are disabled'],
    ['POST', '/recover', { email }, 400, 'email_provider_disabled', 'Email logins are disabled'],
    ['POST', '/resend', { type: 'signup', email }, 400, 'email_provider_disabled', 'Email logins are disabled'],
    ['POST', '/otp', { email }, 422, 'email_provider_disabled', 'Email logins are disabled'],
    ['POST', '/magiclink', { email }, 422, 'email_provider_disabled', 'Email logins are disabled'],
    ['POST', '/otp', { phone }, 400, 'phone_provider_disabled', 'Unsupported phone provider'],
  ])
  await settings(server, project, { email_enabled: true, phone_enabled: true })
})

test('links and codes', async () => {
  const email = 'b@example.org'
  const phone = '+33600000001'
  const [token, token_hash] = ['000000', 'none']
  await hold([
    invalid('POST', '/otp', {}, 'One of email or phone must be set'),
    invalid('POST', '/otp', { email, phone }, 'Only an email address or phone number should be provided'),
    invalid('POST', '/otp', { email, channel: 'sms' }, 'Channel should only be specified with Phone OTP'),
    ['POST', '/otp', { email, create_user: false }, 422, 'otp_disabled', 'Signups not allowed for otp'],
    ['POST', '/magiclink', {}, 422, 'validation_failed', 'Password recovery requires an email'],
    invalid('POST', '/recover', {}, 'Password recovery requires an email'),
    invalid('POST', '/resend', { type: 'recovery', email }, 'Missing one of these types: signup, email_change, sms, phone_change'),
    invalid('POST', '/resend', { type: 'signup', phone }, 'Type provided requires an email address'),
    invalid('POST', '/resend', { type: 'sms', email }, 'Type provided requires a phone number'),
    invalid('POST', '/resend', { type: 'sms', email, phone }, 'Only an email address or phone number should be provided.'),
    invalid('POST', '/resend', { type: 'email_change' }, 'Missing email address or phone number'),
    invalid('POST', '/verify', { token, email }, 'Verify requires a verification type'),
    invalid('POST', '/verify', { type: 'email', email }, 'Verify requires either a token or a token hash'),
    invalid('POST', '/verify', { type: 'email', email, token, token_hash }, 'Verify requires either a token or a token hash'),
    invalid('POST', '/verify', { type: 'email', email, token_hash }, 'Only the token_hash and type should be provided'),
    invalid(
      'POST',
      '/verify',
      { type: 'email', token_hash, redirect_to: 'https://a.example.com' },
      'Only the token_hash and type should be provided',
    ),
    invalid('POST', '/verify', { type: 'nothing', token_hash }, 'Invalid email verification type'),
    invalid('POST', '/verify', { type: 'sms', token_hash }, 'Invalid email verification type'),
    ['POST', '/verify', { type: 'nothing', token, email }, 403, 'otp_expired', 'Token has expired or is invalid'],
    invalid('POST', '/verify', { type: 'email', token }, 'Only an email address or phone number should be provided on verify'),
    invalid('POST', '/verify', { type: 'sms', token, phone: 'x' }, 'Invalid phone number format (E.164 required)'),
    ['POST', '/verify', { type: 'email', token, email: 'x' }, 422, 'validation_failed', 'Invalid email format'],
    ['POST', '/verify', { type: 'email', token, email }, 403, 'otp_expired', 'Token has expired or is invalid'],
    ['POST', '/verify', { type: 'email', token_hash }, 403, 'otp_expired', 'Email link is invalid or has expired'],
    invalid('GET', '/verify?token=x', undefined, 'Verify requires a verification type'),
    invalid('GET', '/verify?type=signup', undefined, 'Verify requires a token or a token hash'),
  ])
  const at = 'redirect_to=https%3A%2F%2Fa.example.com%2Fin%3Fx%3D1'
  const link = async (query: string) => (await auth(project, 'GET', `/verify?${query}&${at}`, { key: null })).headers.get('location')
  const gone = 'error=access_denied&error_code=otp_expired&error_description=Email+link+is+invalid+or+has+expired'
  const unknown = 'error=invalid_request&error_code=validation_failed&error_description=Invalid+email+verification+type'
  assert.equal(await link('token=x&type=signup'), `https://a.example.com/in?x=1#${gone}&sb=`)
  assert.equal(await link('token=pkce_x&type=signup'), `https://a.example.com/in?x=1&${gone}#${gone}&sb=`)
  assert.equal(await link('token=x&type=nothing'), `https://a.example.com/in?x=1#${unknown}&sb=`)
  const back = new URL((await auth(project, 'GET', '/callback', { key: null })).headers.get('location')!).searchParams
  assert.deepEqual([back.get('error_code'), back.get('error_description')], ['bad_oauth_callback', 'OAuth state parameter missing'])
})

test('the own account and its factors', async () => {
  const phone = '33600000001'
  await auth(project, 'POST', '/otp', { body: { phone: `+${phone}` } })
  const { body: session } = await auth(project, 'POST', '/verify', { body: { type: 'sms', phone, token: '123456' } })
  const token = session.access_token as string
  const needs: Case[] = ['/user', '/reauthenticate'].map((path) => [
    'GET',
    path,
    undefined,
    401,
    'no_authorization',
    'This endpoint requires a valid Bearer token',
  ])
  await hold(needs)
  await hold([['GET', '/user', undefined, 403, 'bad_jwt', 'invalid claim: missing sub claim']], { token: project.anon })
  await hold(
    [
      unread('PUT', '/user', undefined, 'unexpected end of JSON input'),
      ['PUT', '/user', { password: '' }, 422, 'weak_password', 'Password should be at least 6 characters.'],
      ['PUT', '/user', { app_metadata: { a: 1 } }, 403, 'not_admin', 'Updating app_metadata requires admin privileges'],
      invalid('PUT', '/user', { email: 'x' }, 'Unable to validate email address: invalid format'),
      invalid('POST', '/logout?scope=some', undefined, 'Unsupported logout scope "some"'),
      invalid('POST', '/factors', { factor_type: 'x' }, 'factor_type needs to be totp, phone, or webauthn'),
      ['POST', '/factors/x/challenge', {}, 404, 'validation_failed', 'factor_id must be an UUID'],
      ['DELETE', `/factors/${(session.user as { id: string }).id}`, undefined, 404, 'mfa_factor_not_found', 'Factor not found'],
      ['DELETE', '/user/identities/x', undefined, 404, 'manual_linking_disabled', 'Manual linking is disabled'],
    ],
    { token },
  )
  assert.deepEqual((await auth(project, 'GET', '/reauthenticate', { token })).body, { message_id: 'test-otp' })
  // Back to the page that asks, where that is allowed and nothing else was said.
  const asked = { email: 'back@example.org', password: PASSWORD }
  const led = async (headers: Record<string, string>, query = '') => {
    await auth(project, 'POST', `/signup${query}`, { body: asked, headers })
    return new URL((await lastMail(server, project, asked.email)).link).searchParams.get('redirect_to')
  }
  assert.equal(await led({ referer: 'https://a.example.com/page' }), 'https://a.example.com/page')
  assert.equal(await led({ referer: 'https://evil.org/page' }), project.url)
  assert.equal(
    await led({ referer: 'https://a.example.com/page' }, '?redirect_to=https%3A%2F%2Fb.example.com%2F'),
    'https://b.example.com/',
  )
  const { id } = session.user as { id: string }
  await settings(server, project, { manual_linking: true })
  await hold(
    [
      ['DELETE', '/user/identities/x', undefined, 404, 'validation_failed', 'identity_id must be an UUID'],
      [
        'DELETE',
        `/user/identities/${id}`,
        undefined,
        422,
        'single_identity_not_deletable',
        'User must have at least 1 identity after unlinking',
      ],
    ],
    { token },
  )
  await auth(project, 'PUT', '/user', { token, body: { email: 'both@example.org' } })
  const { code } = await lastMail(server, project, 'both@example.org')
  const changed = await auth(project, 'POST', '/verify', { body: { type: 'email_change', email: 'both@example.org', token: code } })
  assert.equal(changed.status, 200, JSON.stringify(changed.body))
  await hold([['DELETE', `/user/identities/${id}`, undefined, 422, 'identity_not_found', "Identity doesn't exist"]], { token })
  await settings(server, project, { manual_linking: null })
  const secret = new TextEncoder().encode(project.secrets.jwt_secret)
  const signed = (claims: object) =>
    new SignJWT({ role: 'authenticated', exp: 4_000_000_000, ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(secret)
  await hold([['GET', '/user', undefined, 400, 'bad_jwt', 'invalid claim: sub claim must be a UUID']], {
    token: await signed({ sub: 'x' }),
  })
  await hold([['GET', '/user', undefined, 403, 'bad_jwt', 'invalid claim: session_id claim must be a UUID']], {
    token: await signed({ sub: id, session_id: 'x' }),
  })
  const made = await auth(project, 'POST', '/factors', { token, body: { factor_type: 'totp', friendly_name: 'one' } })
  await hold(
    [
      [
        'POST',
        '/factors',
        { factor_type: 'totp', friendly_name: 'one' },
        422,
        'mfa_factor_name_conflict',
        'A factor with the friendly name "one" for this user already exists',
      ],
      invalid('POST', `/factors/${made.body.id}/verify`, { challenge_id: made.body.id }, 'Code needs to be non-empty'),
      [
        'POST',
        `/factors/${made.body.id}/verify`,
        { challenge_id: made.body.id, code: '1' },
        422,
        'mfa_factor_not_found',
        'MFA factor with the provided challenge ID not found',
      ],
    ],
    { token },
  )
})

test('signing out: the scope is everything unless it is said', async () => {
  const email = 'leaves@example.org'
  await auth(project, 'POST', '/admin/users', { ...admin(), body: { email, password: PASSWORD, email_confirm: true } })
  const enter = async () => (await auth(project, 'POST', '/token?grant_type=password', { body: { email, password: PASSWORD } })).body
  for (const [query, left] of [
    ['', [403, 403, 403]],
    ['?scope=', [403, 403, 403]],
    ['?scope=global', [403, 403, 403]],
    ['?scope=local', [403, 200, 200]],
    ['?scope=others', [200, 403, 403]],
  ] as const) {
    const sessions = [await enter(), await enter(), await enter()]
    const tokens = sessions.map(({ access_token }) => String(access_token))
    assert.equal((await auth(project, 'POST', `/logout${query}`, { token: tokens[0]! })).status, 204, query)
    const seen = await Promise.all(tokens.map(async (token) => (await auth(project, 'GET', '/user', { token })).status))
    assert.deepEqual(seen, left, query)
  }
})

test('a new address and a new password', async () => {
  const email = 'mover@example.org'
  const to = 'elsewhere@example.org'
  await settings(server, project, { email_autoconfirm: true, anonymous_users: true })
  const { body: made } = await auth(project, 'POST', '/signup', { body: { email, password: PASSWORD } })
  const token = made.access_token as string
  const put = (body: unknown) => auth(project, 'PUT', '/user', { token, body })

  // Whoever has an address proves the next one, whatever counts at sign-up; by that one alone.
  const asked = await put({ email: to })
  assert.deepEqual([asked.body.email, asked.body.new_email], [email, to])
  const { token: secret } = await lastMail(server, project, to)
  const changed = await auth(project, 'POST', '/verify', { body: { type: 'email_change', token_hash: secret } })
  assert.equal((changed.body.user as { email: string }).email, to)
  const { body: nobody } = await auth(project, 'POST', '/signup', { body: {} })
  const named = await auth(project, 'PUT', '/user', { token: nobody.access_token as string, body: { email } })
  assert.deepEqual([named.body.email, named.body.is_anonymous, named.body.new_email], [email, false, undefined])

  // Whoever came by a link or a code may not know what they would be asked for.
  await settings(server, project, { email_autoconfirm: null, anonymous_users: null, require_current_password: true })
  await hold(
    [
      [
        'PUT',
        '/user',
        { password: 'a better horse' },
        400,
        'current_password_required',
        'Current password required when setting new password.',
      ],
      [
        'PUT',
        '/user',
        { password: 'a better horse', current_password: 'x' },
        400,
        'current_password_invalid',
        'Current password required when setting new password.',
      ],
      [
        'PUT',
        '/user',
        { password: PASSWORD, current_password: PASSWORD },
        422,
        'same_password',
        'New password should be different from the old password.',
      ],
    ],
    { token },
  )
  assert.equal((await put({ password: 'a better horse', current_password: PASSWORD })).status, 200)
  const recovered = changed.body.access_token as string
  const again = await auth(project, 'POST', '/token?grant_type=password', { body: { email: to, password: 'a better horse' } })
  assert.equal(again.status, 200)
  assert.equal((await auth(project, 'GET', '/user', { token: recovered })).body.error_code, 'session_not_found')
  await auth(project, 'POST', '/recover', { body: { email: to } })
  const { token: way } = await lastMail(server, project, to)
  const { body: back } = await auth(project, 'POST', '/verify', { body: { type: 'recovery', token_hash: way } })
  const fresh = await auth(project, 'PUT', '/user', { token: back.access_token as string, body: { password: 'the best horse' } })
  assert.equal(fresh.status, 200, JSON.stringify(fresh.body))
  assert.equal((await auth(project, 'POST', '/logout?scope=', { token: back.access_token as string })).status, 204)
  await settings(server, project, { require_current_password: null })
})

test('administration', async () => {
  const email = 'c@example.org'
  const password = PASSWORD
  await hold([['GET', '/admin/users', undefined, 403, 'not_admin', 'User not allowed']], { token: project.anon })
  assert.equal((await auth(project, 'GET', '/admin/users', { key: null })).status, 401)
  const { body: user } = await auth(project, 'POST', '/admin/users', { ...admin(), body: { email, password, email_confirm: true } })
  const id = user.id as string
  await hold(
    [
      unread('POST', '/admin/users', undefined, 'unexpected end of JSON input'),
      invalid('POST', '/admin/users', {}, 'Cannot create a user without either an email or phone'),
      invalid('POST', '/admin/users', { email: 'd@example.org', id: 'x' }, 'ID must conform to the uuid v4 format'),
      invalid('POST', '/admin/users', { email: 'd@example.org', id: '00000000-0000-0000-0000-000000000000' }, 'ID cannot be a nil uuid'),
      ['POST', '/admin/users', { email }, 422, 'email_exists', 'A user with this email address has already been registered'],
      ['POST', '/admin/users', { email: 'd@example.org', id }, 422, 'user_already_exists', 'A user with this id already exists'],
      ['GET', '/admin/users/x', undefined, 404, 'validation_failed', 'user_id must be an UUID'],
      ['GET', '/admin/users/00000000-0000-4000-8000-000000000000', undefined, 404, 'user_not_found', 'User not found'],
      ['DELETE', `/admin/users/${id}/factors/x`, undefined, 404, 'validation_failed', 'factor_id must be an UUID'],
      ['PUT', `/admin/users/${id}/factors/${id}`, { friendly_name: 'x' }, 404, 'mfa_factor_not_found', 'Factor not found'],
      invalid('GET', '/admin/users?sort=email%20asc', undefined, "Bad Sort Parameters: bad field for sort 'email'"),
      ['POST', '/invite', { email }, 422, 'email_exists', 'A user with this email address has already been registered'],
      [
        'POST',
        '/admin/generate_link',
        { type: 'recovery', email: 'd@example.org' },
        404,
        'user_not_found',
        'User with this email not found',
      ],
      invalid('POST', '/admin/generate_link', { type: 'x', email }, 'Invalid email action link type requested: x'),
      invalid('POST', '/admin/generate_link', { email }, 'Invalid email action link type requested: '),
      ['PUT', `/admin/users/${id}`, { password: '' }, 422, 'weak_password', 'Password should be at least 6 characters.'],
      invalid(
        'PUT',
        `/admin/users/${id}`,
        { ban_duration: '1d' },
        'invalid format for ban duration: time: unknown unit "d" in duration "1d"',
      ),
      invalid('GET', '/admin/users?page=x', undefined, 'Bad Pagination Parameters: strconv.ParseUint: parsing "x": invalid syntax'),
      invalid('GET', '/admin/users?per_page=0', undefined, 'Bad Pagination Parameters: per_page must be greater than 0'),
      invalid('GET', '/admin/audit?query=foo', undefined, 'Invalid query scope: foo'),
    ],
    admin(),
  )
  const link = await auth(project, 'POST', '/admin/generate_link', { ...admin(), body: { type: 'magiclink', email: 'e@example.org' } })
  assert.deepEqual([link.body.verification_type, new URL(String(link.body.action_link)).searchParams.get('type')], ['signup', 'signup'])

  // A link answers what it has made of the user.
  const made = async (body: object) => (await auth(project, 'POST', '/admin/generate_link', { ...admin(), body: { email, ...body } })).body
  assert.ok((await made({ type: 'recovery' })).recovery_sent_at)
  assert.equal((await made({ type: 'email_change_new', new_email: 'f@example.org' })).new_email, 'f@example.org')

  // A list leads on to more of the same; the number of the page comes first, where clients look for it.
  const page = await auth(project, 'GET', '/admin/users?page=1&per_page=1&filter=example&sort=created_at%20asc', admin())
  const next = /<([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1] ?? ''
  assert.match(next, /\/admin\/users\?page=2&/)
  const query = Object.fromEntries(new URL(next).searchParams)
  assert.deepEqual(query, { page: '2', per_page: '1', filter: 'example', sort: 'created_at asc' })

  // What an administrator did is theirs in the log.
  const log = (await auth(project, 'GET', '/admin/audit?query=author:service_role', admin())).body as unknown as {
    payload: { action: string; actor_id: string; traits: { user_email: string } }
  }[]
  const entry = log.find(({ payload }) => payload.action === 'user_signedup' && payload.traits.user_email === email)?.payload
  assert.deepEqual([entry?.actor_id, entry?.traits.user_email], ['00000000-0000-0000-0000-000000000000', email])
  assert.ok(
    log.some(({ payload }) => payload.action === 'user_recovery_requested'),
    'a link that lets somebody in is told',
  )

  // What an administrator sets counts at once, and is found.
  const moved = await auth(project, 'PUT', `/admin/users/${id}`, {
    ...admin(),
    body: { email: 'Moved@Example.org', phone: '+33611223344' },
  })
  const identities = moved.body.identities as { provider: string; identity_data: Record<string, unknown> }[]
  assert.deepEqual(
    [moved.body.email, moved.body.phone, identities.map(({ provider, identity_data: { email: at, phone } }) => [provider, at ?? phone])],
    [
      'moved@example.org',
      '33611223344',
      [
        ['email', 'moved@example.org'],
        ['phone', '33611223344'],
      ],
    ],
  )
  const entered = await auth(project, 'POST', '/token?grant_type=password', { body: { email: 'MOVED@example.org', password } })
  assert.equal(entered.status, 200, 'an address that was proved stays so')
  const list = async (query: string) => (await auth(project, 'GET', `/admin/users${query}`, admin())).body.users as { email: string }[]
  assert.deepEqual(
    (await list('?filter=MOVED')).map((each) => each.email),
    ['moved@example.org'],
  )
  const [newest, oldest] = [await list('?per_page=1'), await list('?per_page=1&sort=created_at%20asc')]
  assert.notEqual(newest[0]?.email, oldest[0]?.email)
})

test('two at once: one account, one use of a code, two tokens of a refresh', async () => {
  const email = 'twice@example.org'
  const both = async (path: string, body: unknown) =>
    Promise.all([auth(project, 'POST', path, { body }), auth(project, 'POST', path, { body })])
  const made = await both('/signup', { email, password: PASSWORD })
  assert.deepEqual(
    made.map(({ status }) => status),
    [200, 200],
    JSON.stringify(made.map(({ body }) => body)),
  )
  assert.equal((await project.sql('select count(*)::int as n from auth.users where email = $1', [email]))[0]?.n, 1)
  assert.deepEqual(
    (await both('/otp', { email: 'thrice@example.org' })).map(({ status }) => status),
    [200, 200],
  )
  const mail = await lastMail(server, project, email)
  const used = await both('/verify', { type: 'signup', email, token: mail.code })
  assert.deepEqual(used.map(({ status }) => status).sort(), [200, 403])
  const session = used.find(({ status }) => status === 200)!.body
  const refreshed = await both('/token?grant_type=refresh_token', { refresh_token: session.refresh_token })
  assert.deepEqual(
    refreshed.map(({ status }) => status),
    [200, 200],
  )
})

test('each door has its rate, by address; administrators have none', async () => {
  const rates = { sign_ups: 1, anonymous: 1, sign_ins: 1, refreshes: 1, otps: 1, verifications: 1 }
  await settings(server, project, { anonymous_users: true, rates })
  const email = 'rates@example.org'
  const doors: [path: string, body: object][] = [
    ['/signup', { email, password: PASSWORD }],
    ['/signup', {}],
    ['/token?grant_type=password', { email, password: 'x' }],
    ['/token?grant_type=refresh_token', { refresh_token: 'x' }],
    ['/token?grant_type=pkce', { auth_code: 'x', code_verifier: 'x' }],
    ['/otp', { email }],
    ['/recover', { email }],
    ['/resend', { type: 'signup', email }],
    ['/verify', { type: 'email', email, token: '000000' }],
  ]
  for (const [path, body] of doors) {
    await auth(project, 'POST', path, { body })
    const answer = await auth(project, 'POST', path, { body, headers: NEW })
    const said = `${path} ${JSON.stringify(body)}`
    assert.deepEqual([answer.status, answer.body], [429, { code: 'over_request_rate_limit', message: 'Request rate limit reached' }], said)
    assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/, said)
  }
  for (const _ of [1, 2, 3]) assert.equal((await auth(project, 'GET', '/admin/users', admin())).status, 200)
})
