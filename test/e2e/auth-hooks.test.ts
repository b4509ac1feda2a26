/** What a project's own code and rules decide of its users, through the unmodified client and the API. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { auth, client, lastMail, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'

const PASSWORD = 'correct horse battery'
let server: TestServer
let project: TestProject
let count = 0
const address = () => `user-${++count}@example.org`

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'hooks')
  await settings(server, project, { email_autoconfirm: true })
  await project.sql(`
    create function public.claims(event jsonb) returns jsonb language plpgsql as $$
      begin
        if event->'claims'->>'email' like 'slow-%' then perform pg_sleep(10); end if;
        if event->'claims'->>'email' like 'broken-%' then raise exception 'secret words'; end if;
        if event->'claims'->>'email' like 'refused-%' then
          return '{"error":{"http_code":403,"message":"not you"}}';
        end if;
        return jsonb_set(event, '{claims,app_metadata,seen_by}', to_jsonb(current_user::text));
      end $$;
    create function public.claim(name text) returns jsonb language sql stable as $$ select auth.jwt()->'app_metadata'->name $$;`)
})
after(() => server?.stop())

test('a function of the database makes the claims, in the transaction of the sign-in', async () => {
  await settings(server, project, { hooks: { custom_access_token: { uri: 'pg-functions://postgres/public/claims' } } })
  const own = client(project)
  const { data } = await own.auth.signUp({ email: address(), password: PASSWORD })
  const token = data.session?.access_token ?? ''
  const seen = await rest(project, project.anon, 'POST', '/rpc/claim', { token, body: { name: 'seen_by' } })
  assert.deepEqual([seen.status, seen.body], [200, 'supabase_auth_admin'])

  const users = async () => (await client(project, project.service).auth.admin.listUsers()).data.users.length
  const before_ = await users()
  const refused = await auth(project, 'POST', '/signup', { body: { email: `refused-${address()}`, password: PASSWORD } })
  assert.deepEqual([refused.status, refused.body.error_code, refused.body.msg], [403, 'unknown', 'not you'])
  const broken = await auth(project, 'POST', '/signup', { body: { email: `broken-${address()}`, password: PASSWORD } })
  assert.deepEqual(
    [broken.status, broken.body.error_code, broken.body.msg],
    [500, 'unexpected_failure', 'Error running hook URI: pg-functions://postgres/public/claims'],
  )
  const slow = await auth(project, 'POST', '/signup', { body: { email: `slow-${address()}`, password: PASSWORD } })
  assert.deepEqual([slow.status, slow.body.error_code], [422, 'hook_timeout'])
  assert.equal(await users(), before_, 'nothing is left of what a hook refused')
  await settings(server, project, { hooks: null })
})

test('secrets of settings are sealed and never answered; a URL is called through the outbound rule', async () => {
  const secret = `v1,whsec_${Buffer.alloc(24, 1).toString('base64')}`
  await settings(server, project, { hooks: { custom_access_token: { uri: 'http://169.254.169.254/latest', secret } } })
  const shown = await server.api<{ value: unknown }>('GET', `/projects/${project.ref}/settings/auth`)
  assert.ok(!JSON.stringify(shown.body).includes(secret))
  const refused = await auth(project, 'POST', '/signup', { body: { email: address(), password: PASSWORD } })
  const log = await fetch(`${server.url}/v1/projects/${project.ref}/logs`, { headers: { authorization: `Bearer ${server.localToken}` } })
  const told = (await log.text()).split('\n').filter((line) => line.includes('a hook failed'))
  assert.ok(
    told.some((line) => /169\.254\.169\.254 may not be called.*network\.allow/.test(line)),
    'who wrote the hook finds why',
  )
  assert.ok(!told.some((line) => line.includes('secret words')))
  assert.deepEqual([refused.status, refused.body.error_code], [500, 'unexpected_failure'])
  await settings(server, project, { hooks: null })
  const malformed = await server.api('PATCH', `/projects/${project.ref}/settings/auth`, {
    hooks: { custom_access_token: { uri: 'file:///x' } },
  })
  assert.equal(malformed.status, 400)
})

test('CAPTCHA stands before every door that anybody may knock at, and not before administrators', async () => {
  await settings(server, project, { captcha: { provider: 'hcaptcha', secret: 'x' } })
  const doors: [string, object][] = [
    ['/signup', { email: address(), password: PASSWORD }],
    ['/token?grant_type=password', { email: address(), password: PASSWORD }],
    ['/otp', { email: address() }],
    ['/recover', { email: address() }],
    ['/resend', { email: address(), type: 'signup' }],
  ]
  for (const [door, body] of doors) {
    const refused = await auth(project, 'POST', door, { body })
    assert.deepEqual(
      [refused.status, refused.body.error_code, refused.body.msg],
      [400, 'captcha_failed', 'captcha protection: request disallowed (no captcha_token found)'],
      door,
    )
  }
  const allowed = await auth(project, 'POST', '/signup', { body: { email: address(), password: PASSWORD }, key: project.service })
  assert.equal(allowed.status, 200)
  assert.equal(
    (await auth(project, 'POST', '/token?grant_type=refresh_token', { body: { refresh_token: 'x' } })).body.error_code,
    'refresh_token_not_found',
  )
  await settings(server, project, { captcha: null })
})

test('sessions are listed and ended by their user and by administrators; the log is read by administrators', async () => {
  const email = address()
  const own = client(project)
  const first = (await own.auth.signUp({ email, password: PASSWORD })).data.session!
  const second = (await client(project).auth.signInWithPassword({ email, password: PASSWORD })).data.session!
  const listed = await auth(project, 'GET', '/user/sessions', { token: first.access_token })
  const sessions = listed.body.sessions as { id: string; current: boolean; aal: string }[]
  assert.equal(sessions.length, 2)
  const other = sessions.find(({ current }) => !current)!
  assert.equal((await auth(project, 'DELETE', `/user/sessions/${other.id}`, { token: first.access_token })).status, 204)
  assert.equal((await rest(project, project.anon, 'POST', '/rpc/claim', { token: second.access_token, body: { name: 'x' } })).status, 401)
  const gone = await auth(project, 'DELETE', `/user/sessions/${other.id}`, { token: first.access_token })
  assert.deepEqual([gone.status, gone.body.error_code], [404, 'session_not_found'])
  const path = `/admin/users/${first.user.id}/sessions`
  assert.equal((await auth(project, 'GET', path, { token: first.access_token })).status, 403)
  assert.equal(((await auth(project, 'GET', path, { key: project.service })).body.sessions as unknown[]).length, 1)
  assert.equal((await auth(project, 'DELETE', path, { key: project.service })).status, 204)
  assert.equal((await auth(project, 'GET', '/user', { token: first.access_token })).body.error_code, 'session_not_found')

  const log = await auth(project, 'GET', '/admin/audit?per_page=2&query=action:login', { key: project.service })
  const entries = log.body as unknown as { payload: { action: string; actor_username: string } }[]
  assert.deepEqual([entries[0]?.payload.action, entries[0]?.payload.actor_username], ['login', email])
  assert.match(log.headers.get('link') ?? '', /rel="last"/)
  assert.equal((await auth(project, 'GET', '/admin/audit', { token: second.access_token })).status, 403)
  assert.equal((await auth(project, 'GET', '/admin/audit')).status, 403)
})

test('a number signs in by the code of a text message, and is a second factor', async () => {
  await settings(server, project, { phone_enabled: true, mfa_phone: true, sms_interval: 0 })
  const phone = '33600000042'
  const own = client(project)
  const asked = await own.auth.signInWithOtp({ phone: `+${phone}` })
  assert.ok(asked.data.messageId)
  const code = async () => /\d{6}/.exec((await lastMail(server, project, phone)).text)?.[0] ?? ''
  const { data } = await own.auth.verifyOtp({ phone: `+${phone}`, token: await code(), type: 'sms' })
  assert.equal(data.user?.phone, phone)
  const enrolled = await own.auth.mfa.enroll({ factorType: 'phone', phone: '+33600000043', friendlyName: 'other' })
  assert.equal(enrolled.error, null)
  const factorId = enrolled.data!.id
  const challenge = await own.auth.mfa.challenge({ factorId })
  const sent = /\d{6}/.exec((await lastMail(server, project, '33600000043')).text)?.[0] ?? ''
  const wrong = await own.auth.mfa.verify({ factorId, challengeId: challenge.data!.id, code: sent === '000000' ? '000001' : '000000' })
  assert.deepEqual([wrong.error?.code, wrong.error?.message], ['mfa_verification_failed', 'Invalid MFA Phone code entered'])
  const right = await own.auth.mfa.verify({ factorId, challengeId: challenge.data!.id, code: sent })
  assert.equal(right.error, null)
  assert.equal((await own.auth.mfa.getAuthenticatorAssuranceLevel()).data?.currentLevel, 'aal2')
  const both = await auth(project, 'POST', '/otp', { body: { phone, email: address() } })
  assert.deepEqual([both.status, both.body.msg], [400, 'Only an email address or phone number should be provided'])
  await settings(server, project, { phone_enabled: null, mfa_phone: null, sms_interval: null })
})
