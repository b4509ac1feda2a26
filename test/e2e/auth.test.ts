/** Users of a project by the unmodified client: sign-up, sign-in, sessions, mails, account. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { isAuthApiError } from '@supabase/supabase-js'
import { auth, client, lastMail, outbox, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'

let server: TestServer
let project: TestProject
let count = 0
const address = (name = 'user') => `${name}-${++count}@example.org`
const PASSWORD = 'correct horse battery'

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'people')
  await settings(server, project, { mail_interval: 0, site_url: 'https://app.example.org/', redirect_urls: ['https://*.example.com/**'] })
  await project.sql(`
    create table public.profiles (id uuid primary key references auth.users on delete cascade, email text);
    create function public.on_user() returns trigger language plpgsql security definer set search_path = '' as
      $$ begin
        if new.email like 'refused-%' then raise exception 'not you'; end if;
        insert into public.profiles values (new.id, new.email); return new; end $$;
    create trigger on_user after insert on auth.users for each row execute function public.on_user();
    alter table public.profiles enable row level security;
    grant select on public.profiles to authenticated;
    create policy own on public.profiles for select to authenticated using (id = (select auth.uid()))`)
})
after(() => server?.stop())

function must<A extends { data: unknown; error: unknown }>(answer: A): NonNullable<Extract<A, { error: null }>['data']> {
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data as NonNullable<Extract<A, { error: null }>['data']>
}

const mustNot = (answer: { error: unknown }): void => assert.equal(answer.error, null, JSON.stringify(answer.error))

function refused(answer: { error: unknown }, code: string, status: number): void {
  assert.ok(
    isAuthApiError(answer.error) ||
      (answer.error as Error)?.name === 'AuthSessionMissingError' ||
      (answer.error as Error)?.name === 'AuthWeakPasswordError',
    `expected ${code}, got ${JSON.stringify(answer)}`,
  )
  const { code: seen, status: http } = answer.error as unknown as { code: string; status: number }
  assert.deepEqual([seen, http], [code, status])
}

/** A confirmed user by the admin API, and a client signed in as them. */
async function person(name = 'user') {
  const email = address(name)
  const user = must(await client(project, project.service).auth.admin.createUser({ email, password: PASSWORD, email_confirm: true })).user!
  const own = client(project)
  const { session } = must(await own.auth.signInWithPassword({ email, password: PASSWORD }))
  return { email, id: user.id, own, session: session! }
}

describe('sign-up and sign-in', () => {
  test('sign-up by mail, confirmed by its link, refresh, own rows, sign-out', async () => {
    const email = address()
    const own = client(project)
    const made = must(
      await own.auth.signUp({
        email: email.toUpperCase(),
        password: PASSWORD,
        options: { data: { name: 'Zoé' }, emailRedirectTo: 'https://a.example.com/welcome' },
      }),
    )
    assert.equal(made.session, null)
    assert.deepEqual(
      [
        made.user?.email,
        made.user?.user_metadata.name,
        made.user?.identities?.length,
        made.user?.email_confirmed_at,
        made.user?.app_metadata,
      ],
      [email, 'Zoé', 1, undefined, { provider: 'email', providers: ['email'] }],
    )
    refused(await own.auth.signInWithPassword({ email, password: PASSWORD }), 'email_not_confirmed', 400)

    const mail = await lastMail(server, project, email)
    assert.equal(mail.subject, 'Confirm your address')
    const followed = await fetch(mail.link, { redirect: 'manual' })
    assert.equal(followed.status, 303)
    const target = new URL(followed.headers.get('location') ?? '')
    assert.equal(target.origin + target.pathname, 'https://a.example.com/welcome')
    const given = new URLSearchParams(target.hash.slice(1))
    assert.deepEqual([given.get('type'), given.get('token_type')], ['signup', 'bearer'])
    const again = new URL((await fetch(mail.link, { redirect: 'manual' })).headers.get('location') ?? '')
    assert.equal(new URLSearchParams(again.hash.slice(1)).get('error_code'), 'otp_expired', 'a link is good once')

    const { session, user } = must(
      await own.auth.setSession({ access_token: given.get('access_token')!, refresh_token: given.get('refresh_token')! }),
    )
    assert.equal(user?.email_confirmed_at !== undefined, true)
    const rows = await rest(project, project.anon, 'GET', '/profiles', { token: session!.access_token })
    assert.deepEqual(rows.body, [{ id: user!.id, email }])

    const next = must(await own.auth.refreshSession()).session!
    assert.notEqual(next.refresh_token, session!.refresh_token)
    const claims = must(await own.auth.getClaims()).claims
    assert.deepEqual(
      [claims.sub, claims.role, claims.aud, claims.aal, claims.iss, claims.is_anonymous, claims.amr?.[0]],
      [
        user!.id,
        'authenticated',
        'authenticated',
        'aal1',
        `${project.url}/auth/v1`,
        false,
        { ...(claims.amr?.[0] as object), method: 'otp' },
      ],
    )
    mustNot(await own.auth.signOut())
    assert.equal((await rest(project, project.anon, 'GET', '/profiles', { token: next.access_token })).status, 401, 'refused on every API')
    const gone = await auth(project, 'GET', '/user', { token: next.access_token })
    assert.deepEqual([gone.status, gone.body.error_code], [403, 'session_not_found'])
  })

  test('a code instead of the link; wrong ones do not say why, and are few', async () => {
    const email = address()
    const own = client(project)
    must(await own.auth.signUp({ email, password: PASSWORD }))
    const { code } = await lastMail(server, project, email)
    const wrong = code === '111111' ? '222222' : '111111'
    refused(await own.auth.verifyOtp({ email, token: wrong, type: 'email' }), 'otp_expired', 403)
    refused(await own.auth.verifyOtp({ email: address(), token: code, type: 'email' }), 'otp_expired', 403)
    refused(await own.auth.verifyOtp({ email, token: code, type: 'recovery' }), 'otp_expired', 403)
    assert.equal(must(await own.auth.verifyOtp({ email, token: code, type: 'signup' })).user?.email, email)
    refused(await own.auth.verifyOtp({ email, token: code, type: 'signup' }), 'otp_expired', 403)

    const other = address()
    must(await own.auth.signUp({ email: other, password: PASSWORD }))
    const mail = await lastMail(server, project, other)
    for (let i = 0; i < 7; i++) refused(await own.auth.verifyOtp({ email: other, token: wrong, type: 'email' }), 'otp_expired', 403)
    refused(await own.auth.verifyOtp({ email: other, token: mail.code, type: 'email' }), 'otp_expired', 403)
  })

  test('a taken address is not told, but to its owner; with autoconfirm it is', async () => {
    const { email } = await person()
    const seen = must(await client(project).auth.signUp({ email, password: PASSWORD }))
    assert.deepEqual([seen.session, seen.user?.identities], [null, []])
    await settings(server, project, { email_autoconfirm: true })
    refused(await client(project).auth.signUp({ email, password: PASSWORD }), 'user_already_exists', 422)
    const fresh = must(await client(project).auth.signUp({ email: address(), password: PASSWORD }))
    assert.ok(fresh.session?.access_token)
    await settings(server, project, { email_autoconfirm: null })
  })

  test('what is refused, in the words that applications match on', async () => {
    const own = client(project)
    const { email } = await person()
    refused(await own.auth.signInWithPassword({ email, password: 'wrong' }), 'invalid_credentials', 400)
    refused(await own.auth.signInWithPassword({ email: address(), password: PASSWORD }), 'invalid_credentials', 400)
    const weak = await own.auth.signUp({ email: address(), password: 'short' })
    refused(weak, 'weak_password', 422)
    assert.deepEqual(
      [(weak.error as unknown as { reasons: string[] }).reasons, weak.error?.message],
      [['length'], 'Password should be at least 6 characters.'],
    )
    const malformed = await own.auth.signUp({ email: 'nobody', password: PASSWORD })
    refused(malformed, 'validation_failed', 400)
    assert.equal(malformed.error?.message, 'Unable to validate email address: invalid format')
    refused(await own.auth.signUp({ phone: '33600000000', password: PASSWORD }), 'phone_provider_disabled', 400)
    refused(await own.auth.signInAnonymously(), 'anonymous_provider_disabled', 422)
    refused(await own.auth.signInWithIdToken({ provider: 'google', token: 'x' }), 'provider_disabled', 400)
    refused(await own.auth.refreshSession({ refresh_token: 'never-was' }), 'refresh_token_not_found', 400)
    await settings(server, project, { disable_signup: true })
    refused(await own.auth.signUp({ email: address(), password: PASSWORD }), 'signup_disabled', 422)
    await settings(server, project, { disable_signup: null })
    const trigger = await auth(project, 'POST', '/signup', { body: { email: address('refused'), password: PASSWORD } })
    assert.deepEqual(
      [trigger.status, trigger.body.error_code, trigger.body.msg],
      [500, 'unexpected_failure', 'Database error saving new user'],
    )
  })

  test('both shapes of errors', async () => {
    const body = { email: address(), password: 'wrong' }
    const old = await auth(project, 'POST', '/token?grant_type=password', { body })
    assert.deepEqual([old.status, old.body], [400, { code: 400, error_code: 'invalid_credentials', msg: 'Invalid login credentials' }])
    const headers = { 'x-supabase-api-version': '2024-01-01' }
    const fresh = await auth(project, 'POST', '/token?grant_type=password', { body, headers })
    assert.deepEqual([fresh.status, fresh.body], [400, { code: 'invalid_credentials', message: 'Invalid login credentials' }])
    assert.deepEqual(
      [fresh.headers.get('x-supabase-api-version'), fresh.headers.get('x-sb-error-code')],
      ['2024-01-01', 'invalid_credentials'],
    )
    const grant = await auth(project, 'POST', '/token?grant_type=magic', { body })
    assert.deepEqual([grant.status, grant.body.error], [400, 'unsupported_grant_type'])
    const broken = await auth(project, 'POST', '/token?grant_type=password', { body: '{' })
    assert.deepEqual([broken.status, broken.body.error_code], [400, 'bad_json'])
    assert.equal((await auth(project, 'POST', '/token?grant_type=password', { body, key: null })).status, 400, 'keyless on loopback')
    assert.equal((await auth(project, 'POST', '/token?grant_type=password', { body, key: 'junk' })).status, 401)
  })

  test('anonymous, upgraded by an address and then a password', async () => {
    await settings(server, project, { anonymous_users: true })
    const own = client(project)
    const { user } = must(await own.auth.signInAnonymously({ options: { data: { cart: 3 } } }))
    assert.deepEqual([user?.is_anonymous, user?.email, user?.user_metadata], [true, '', { cart: 3 }])
    refused(await own.auth.updateUser({ password: PASSWORD }), 'validation_failed', 422)
    const email = address()
    assert.equal(must(await own.auth.updateUser({ email })).user.new_email, email)
    const { code } = await lastMail(server, project, email)
    const upgraded = must(await own.auth.verifyOtp({ email, token: code, type: 'email_change' }))
    assert.deepEqual([upgraded.user?.id, upgraded.user?.is_anonymous, upgraded.user?.email], [user?.id, false, email])
    must(await own.auth.updateUser({ password: PASSWORD }))
    must(await client(project).auth.signInWithPassword({ email, password: PASSWORD }))
    await settings(server, project, { anonymous_users: null })
  })
})

describe('links and codes', () => {
  test('magic link and code sign in who is known; strangers are not told apart', async () => {
    const { email, id } = await person()
    const own = client(project)
    must(await own.auth.signInWithOtp({ email, options: { shouldCreateUser: false } }))
    const { code, kind } = await lastMail(server, project, email)
    assert.equal(kind, 'magic_link')
    assert.equal(must(await own.auth.verifyOtp({ email, token: code, type: 'email' })).user?.id, id)
    must(await own.auth.signInWithOtp({ email }))
    const second = await lastMail(server, project, email)
    assert.equal(must(await own.auth.verifyOtp({ token_hash: second.token, type: 'magiclink' })).user?.id, id)
    const fresh = address()
    must(await own.auth.signInWithOtp({ email: fresh, options: { data: { from: 'otp' } } }))
    const third = await lastMail(server, project, fresh)
    assert.deepEqual(must(await own.auth.verifyOtp({ email: fresh, token: third.code, type: 'email' })).user?.user_metadata, {
      from: 'otp',
    })
    refused(await own.auth.signInWithOtp({ email: address(), options: { shouldCreateUser: false } }), 'otp_disabled', 422)
  })

  test('recovery with PKCE: the code is good once, for whoever has the verifier', async () => {
    const { email } = await person()
    const own = client(project, project.anon, { flowType: 'pkce' })
    must(await own.auth.resetPasswordForEmail(email, { redirectTo: 'https://app.example.org/reset' }))
    must(await client(project).auth.resetPasswordForEmail(address()))
    const mail = await lastMail(server, project, email)
    assert.ok(mail.token.startsWith('pkce_'))
    const target = new URL((await fetch(mail.link, { redirect: 'manual' })).headers.get('location') ?? '')
    assert.equal(target.origin + target.pathname, 'https://app.example.org/reset')
    const code = target.searchParams.get('code')!
    const stolen = await auth(project, 'POST', '/token?grant_type=pkce', { body: { auth_code: code, code_verifier: 'x'.repeat(43) } })
    assert.deepEqual([stolen.status, stolen.body.error_code], [400, 'bad_code_verifier'])
    must(await own.auth.exchangeCodeForSession(code))
    must(await own.auth.updateUser({ password: 'another horse' }))
    must(await client(project).auth.signInWithPassword({ email, password: 'another horse' }))
    const again = await auth(project, 'POST', '/token?grant_type=pkce', { body: { auth_code: code, code_verifier: 'x'.repeat(43) } })
    assert.deepEqual([again.status, again.body.error_code], [404, 'flow_state_not_found'])
  })

  test('a change of address is confirmed at both; resend; reauthentication', async () => {
    const { email, own, id } = await person()
    const next = address('next')
    assert.equal(must(await own.auth.updateUser({ email: next })).user.new_email, next)
    must(await own.auth.resend({ type: 'email_change', email }))
    const half = await auth(project, 'POST', '/verify', {
      body: { type: 'email_change', email: next, token: (await lastMail(server, project, next)).code },
    })
    assert.deepEqual([half.status, half.body.code], [200, '200'])
    const done = must(await own.auth.verifyOtp({ email, token: (await lastMail(server, project, email)).code, type: 'email_change' }))
    assert.deepEqual([done.user?.id, done.user?.email, done.user?.new_email], [id, next, undefined])
    refused(await own.auth.updateUser({ email: (await person()).email }), 'email_exists', 422)

    await settings(server, project, { secure_password_change: true })
    mustNot(await own.auth.reauthenticate())
    const { code } = await lastMail(server, project, next)
    must(await own.auth.updateUser({ password: 'a third horse', nonce: code }))
    await settings(server, project, { secure_password_change: null })
  })

  test('links lead only where they may, whatever is asked', async () => {
    const { email } = await person()
    const asked = [
      'https://evil.example.net/',
      'https://app.example.org.evil.net/',
      'https://app.example.org@evil.net/',
      'https://x.y.example.com/',
      'https://evil.net/.example.com/',
      'javascript:alert(1)//https://a.example.com/',
      '//evil.net',
      'https://a.example.com\\@evil.net/',
    ]
    for (const url of asked) {
      await auth(project, 'POST', `/recover?redirect_to=${encodeURIComponent(url)}`, { body: { email } })
      const { link } = await lastMail(server, project, email)
      assert.equal(new URL(link).searchParams.get('redirect_to'), 'https://app.example.org/', url)
      const forged = link.replace(/redirect_to=[^&]*/, `redirect_to=${encodeURIComponent(url)}`)
      const target = (await fetch(forged, { redirect: 'manual' })).headers.get('location') ?? ''
      assert.ok(target.startsWith('https://app.example.org/#access_token='), `${url} → ${target.slice(0, 60)}`)
    }
  })

  test('Accept-Language chooses French; a template of the project is filled in, and escaped', async () => {
    const email = address()
    await auth(project, 'POST', '/signup', {
      body: { email, password: PASSWORD },
      headers: { 'accept-language': 'fr-FR,fr;q=0.9,en;q=0.8' },
    })
    assert.equal((await lastMail(server, project, email)).subject, 'Confirmez votre adresse')
    await settings(server, project, {
      templates: {
        confirmation: { subject: 'Hello {{ .Data.name }}', text: '{{ .Data.name }} {{ .Email }} {{ .ConfirmationURL }} {{ .Token }}' },
      },
    })
    const other = address()
    await auth(project, 'POST', '/signup', {
      body: { email: other, password: PASSWORD, data: { name: 'A\r\nBcc: x@y.z {{ .TokenHash }}' } },
    })
    const mail = await lastMail(server, project, other)
    assert.equal(mail.subject, 'Hello A Bcc: x@y.z {{ .TokenHash }}')
    await settings(server, project, { templates: null })
  })

  test('mails are limited by address and by project, known or not', async () => {
    await settings(server, project, { mail_interval: 3600 })
    for (const email of [(await person()).email, address()]) {
      assert.equal((await auth(project, 'POST', '/recover', { body: { email } })).status, 200)
      const second = await auth(project, 'POST', '/recover', { body: { email } })
      assert.deepEqual([second.status, second.body.error_code], [429, 'over_email_send_rate_limit'])
      assert.match(String(second.body.msg), /^For security purposes, you can only request this after \d+ seconds\.$/)
    }
    await settings(server, project, { mail_interval: 0 })
    assert.equal((await outbox(server, project)).configured, false)
  })
})

describe('sessions', () => {
  test('a refresh token used twice at once works, used late it ends the session', async () => {
    await settings(server, project, { refresh_reuse_interval: 60 })
    const { session } = await person()
    const use = (refresh_token: string) => auth(project, 'POST', '/token?grant_type=refresh_token', { body: { refresh_token } })
    const both = await Promise.all([use(session.refresh_token), use(session.refresh_token)])
    assert.deepEqual(
      both.map(({ status }) => status),
      [200, 200],
    )
    await settings(server, project, { refresh_reuse_interval: 0 })
    const late = await use(session.refresh_token)
    assert.deepEqual([late.status, late.body.error_code], [400, 'refresh_token_already_used'])
    const child = await use(String(both[0]!.body.refresh_token))
    assert.deepEqual([child.status, child.body.error_code], [400, 'refresh_token_not_found'], 'the whole family is gone')
    assert.equal((await auth(project, 'GET', '/user', { token: String(both[1]!.body.access_token) })).status, 403)
    await settings(server, project, { refresh_reuse_interval: null })
  })

  test('scopes of sign-out', async () => {
    const { email, own, session } = await person()
    const other = client(project)
    const second = must(await other.auth.signInWithPassword({ email, password: PASSWORD })).session!
    const alive = async (token: string) => (await auth(project, 'GET', '/user', { token })).status === 200
    mustNot(await own.auth.signOut({ scope: 'others' }))
    assert.deepEqual([await alive(session.access_token), await alive(second.access_token)], [true, false])
    const third = must(await other.auth.signInWithPassword({ email, password: PASSWORD })).session!
    mustNot(await other.auth.signOut({ scope: 'local' }))
    assert.deepEqual([await alive(session.access_token), await alive(third.access_token)], [true, false])
    mustNot(await own.auth.signOut())
    assert.equal(await alive(session.access_token), false)
  })

  test('a single session, a new password, a ban end the others', async () => {
    const { email, own, session, id } = await person()
    await settings(server, project, { single_session: true })
    const second = must(await client(project).auth.signInWithPassword({ email, password: PASSWORD })).session!
    assert.equal((await auth(project, 'GET', '/user', { token: session.access_token })).status, 403)
    await settings(server, project, { single_session: null })
    must(await own.auth.setSession(second))
    const third = must(await client(project).auth.signInWithPassword({ email, password: PASSWORD })).session!
    refused(await own.auth.updateUser({ password: PASSWORD }), 'same_password', 422)
    must(await own.auth.updateUser({ password: 'quite another' }))
    assert.equal((await auth(project, 'GET', '/user', { token: third.access_token })).status, 403)
    must(await client(project, project.service).auth.admin.updateUserById(id, { ban_duration: '24h' }))
    assert.equal((await auth(project, 'GET', '/user', { token: second.access_token })).status, 403)
    refused(await client(project).auth.signInWithPassword({ email, password: 'quite another' }), 'user_banned', 400)
    must(await client(project, project.service).auth.admin.updateUserById(id, { ban_duration: 'none' }))
    must(await client(project).auth.signInWithPassword({ email, password: 'quite another' }))
  })

  test('nobody makes themselves more than they are', async () => {
    const { own, session, id } = await person()
    const body = {
      data: { a: 1 },
      role: 'service_role',
      app_metadata: { admin: true },
      aud: 'x',
      id: 'x',
      email_confirm: true,
      is_super_admin: true,
    }
    const whole = await auth(project, 'PUT', '/user', { token: session.access_token, body })
    assert.deepEqual([whole.status, whole.body.error_code], [403, 'not_admin'])
    const { app_metadata: _, ...rest } = body
    const changed = await auth(project, 'PUT', '/user', { token: session.access_token, body: rest })
    assert.deepEqual([changed.status, changed.body.role, changed.body.id], [200, 'authenticated', id])
    assert.deepEqual(changed.body.app_metadata, { provider: 'email', providers: ['email'] })
    const email = address()
    const made = await auth(project, 'POST', '/signup', { body: { email, password: PASSWORD, ...body, id } })
    assert.deepEqual([made.status, made.body.role, made.body.email_confirmed_at], [200, 'authenticated', undefined])
    assert.notEqual(made.body.id, id)
    const denied = await auth(project, 'GET', '/admin/users', { token: session.access_token })
    assert.deepEqual([denied.status, denied.body.error_code, denied.body.msg], [403, 'not_admin', 'User not allowed'])
    assert.equal((await auth(project, 'GET', '/admin/users')).status, 403)
    const noToken = await auth(project, 'GET', '/user')
    assert.deepEqual(
      [noToken.status, noToken.body.error_code, noToken.body.msg],
      [401, 'no_authorization', 'This endpoint requires a valid Bearer token'],
    )
    assert.equal((await auth(project, 'GET', '/user', { token: project.anon })).body.error_code, 'bad_jwt')
    const tampered = await auth(project, 'GET', '/user', { token: `${session.access_token.slice(0, -6)}AAAAAA` })
    assert.deepEqual([tampered.status, tampered.body.error_code], [403, 'bad_jwt'])
    assert.equal(must(await own.auth.getUser()).user.id, id)
  })
})

test('keys and settings are read without waking the project', async () => {
  await server.api('POST', `/projects/${project.ref}/sleep`)
  const get = async (path: string) => (await auth(project, 'GET', path, { key: null })).body
  const keys = (await get('/.well-known/jwks.json')).keys as { alg: string; kid: string; d?: string }[]
  assert.deepEqual(
    keys.map(({ alg, d }) => [alg, d]),
    [['ES256', undefined]],
  )
  assert.equal((await get('/.well-known/openid-configuration')).issuer, `${project.url}/auth/v1`)
  const shown = await get('/settings')
  assert.deepEqual([(shown.external as { email: boolean }).email, shown.disable_signup, shown.mailer_autoconfirm], [true, false, false])
  assert.equal((await get('/health')).name, 'Sovrabase Auth')
  const { body } = await server.api<{ services: { status: string }[] }>('GET', `/projects/${project.ref}`)
  assert.equal(body.services[0]?.status, 'asleep')
})
