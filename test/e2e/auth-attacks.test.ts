/** What somebody who means harm tries at `/auth/v1`. Single sign-on and providers have their own. */
import assert from 'node:assert/strict'
import { createHmac, createPublicKey } from 'node:crypto'
import { after, before, test } from 'node:test'
import { auth, client, lastMail, outbox, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'

const PASSWORD = 'correct horse battery'
let server: TestServer
let project: TestProject
let neighbour: TestProject
let count = 0
/** Of each kind, where times are compared. */
const TRIES = 15
/** ms before which a door that must not tell whether somebody is known does not answer, less what a timer may be early. */
const LEAST = 58
const address = () => `user-${++count}@example.org`

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'attacked')
  neighbour = await createProject(server, 'neighbour')
  for (const each of [project, neighbour]) {
    await settings(server, each, {
      mail_interval: 0,
      rates: { sign_ins: 100_000, failures: 1_000, otps: 100_000, verifications: 100_000, sign_ups: 100_000 },
    })
  }
})
after(() => server?.stop())

async function person(at = project) {
  const email = address()
  await client(at, at.service).auth.admin.createUser({ email, password: PASSWORD, email_confirm: true })
  const own = client(at)
  const { data } = await own.auth.signInWithPassword({ email, password: PASSWORD })
  return { email, own, session: data.session! }
}
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
const hs256 = (header: object, claims: object, key: string | Buffer): string => {
  const text = `${part(header)}.${part(claims)}`
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`
}

test('tokens that were made up: no algorithm, another one, another key, another project, another time', async () => {
  const { session } = await person()
  const stranger = await person(neighbour)
  const claims = claimsOf(session.access_token)
  const [header = '', , signature = ''] = session.access_token.split('.')
  const kid = (JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }).kid
  const { keys } = (await auth(project, 'GET', '/.well-known/jwks.json')).body as { keys: object[] }
  const pem = createPublicKey({ key: keys[0] as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  const admin = { ...claims, role: 'service_role' }
  const forged: Record<string, string> = {
    'alg none': `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.`,
    'alg none with a signature': `${part({ alg: 'none', kid })}.${part(claims)}.${signature}`,
    'the public key as a shared secret': hs256({ alg: 'HS256', kid }, admin, pem as string),
    'an empty secret': hs256({ alg: 'HS256' }, admin, ''),
    'other claims under the old signature': `${header}.${part(admin)}.${signature}`,
    'another kid': `${part({ alg: 'ES256', kid: '../../etc/passwd' })}.${part(claims)}.${signature}`,
    'a key of its own in the header': hs256({ alg: 'HS256', jwk: { kty: 'oct', k: part('x') } }, admin, 'x'),
    'of a neighbour': stranger.session.access_token,
    'two spellings of a signature': `${session.access_token}=`,
  }
  for (const [name, token] of Object.entries(forged)) {
    const seen = await auth(project, 'GET', '/user', { token })
    assert.deepEqual([seen.status, seen.body.error_code], [403, 'bad_jwt'], name)
    assert.equal((await rest(project, project.anon, 'GET', '/', { token })).status, 401, name)
    assert.equal((await auth(project, 'GET', '/admin/users', { token })).status, 403, name)
  }
  const foreign = await auth(project, 'POST', '/token?grant_type=refresh_token', {
    body: { refresh_token: stranger.session.refresh_token },
  })
  assert.equal(foreign.body.error_code, 'refresh_token_not_found')
  assert.equal((await auth(project, 'GET', '/user', { key: neighbour.anon, token: session.access_token })).status, 401, "a neighbour's key")
})

test('what was signed out, used or meant for something else does nothing more', async () => {
  const { email, own, session } = await person()
  await own.auth.signOut()
  for (const body of [{ refresh_token: session.refresh_token }])
    assert.equal((await auth(project, 'POST', '/token?grant_type=refresh_token', { body })).body.error_code, 'refresh_token_not_found')
  assert.equal((await auth(project, 'PUT', '/user', { token: session.access_token, body: { password: 'x'.repeat(9) } })).status, 403)

  await auth(project, 'POST', '/recover', { body: { email } })
  const first = await lastMail(server, project, email)
  await auth(project, 'POST', '/recover', { body: { email } })
  const second = await lastMail(server, project, email)
  const use = (body: object) => auth(project, 'POST', '/verify', { body })
  assert.equal((await use({ type: 'recovery', token_hash: first.token })).status, 403, 'a newer one makes the older void')
  assert.equal((await use({ type: 'sms', token_hash: second.token })).status, 400, 'numbers have no links')
  for (const type of ['signup', 'invite', 'email_change']) assert.equal((await use({ type, token_hash: second.token })).status, 403, type)
  const both = await Promise.all([use({ type: 'recovery', token_hash: second.token }), use({ type: 'recovery', token_hash: second.token })])
  assert.deepEqual(both.map(({ status }) => status).sort(), [200, 403], 'of two at once one gets in')
})

test('nobody writes a header, a receiver or a script into a mail', async () => {
  const [before_] = [(await outbox(server, project)).items.length]
  for (const email of ['a@example.org\r\nBcc: eve@example.org', 'a@example.org,eve@example.org', '"a b"@example.org', 'a@example.org>']) {
    const refused = await auth(project, 'POST', '/signup', { body: { email, password: PASSWORD } })
    assert.deepEqual([refused.status, refused.body.error_code], [400, 'validation_failed'], JSON.stringify(email))
  }
  for (const email of [['a@example.org'], { a: 1 }]) {
    const refused = await auth(project, 'POST', '/signup', { body: { email, password: PASSWORD } })
    assert.deepEqual([refused.status, refused.body.error_code], [400, 'bad_json'], JSON.stringify(email))
  }
  assert.equal((await outbox(server, project)).items.length, before_)
  await settings(server, project, {
    templates: { confirmation: { subject: '{{ .Data.name }}', html: '<b>{{ .Data.name }}</b> {{ .ConfirmationURL }}' } },
  })
  const email = address()
  const name = '<script>alert(1)</script>\r\nBcc: eve@example.org {{ .Token }}'
  await auth(project, 'POST', '/signup', { body: { email, password: PASSWORD, data: { name } } })
  const mail = await lastMail(server, project, email)
  assert.ok(!/[\r\n]/.test(mail.subject))
  assert.ok(mail.text.includes('{{ .Token }}'), 'what people say is no template')
  await settings(server, project, { templates: null })
})

test('bodies that are none, and more than they seem', async () => {
  const rows: [string, string][] = [
    ['/token?grant_type=password', '[]'],
    ['/token?grant_type=password', 'null'],
    ['/token?grant_type=password', '{"email":{"$ne":null},"password":{"$ne":null}}'],
    ['/token?grant_type=password', `{"email":"a@example.org","password":"${'x'.repeat(200_000)}"}`],
    ['/token?grant_type=pkce', '{"auth_code":["x"],"code_verifier":1}'],
    ['/verify', '{"type":"__proto__","token":"x","email":"a@example.org"}'],
    ['/verify', '{"type":"constructor","token_hash":"x"}'],
    ['/signup', `{"email":"${address()}","password":"${PASSWORD}","data":{"x":"${'y'.repeat(70_000)}"}}`],
    ['/signup', `{"email":"${address()}","password":"a\\u0000b c d e"}`],
  ]
  for (const [path, body] of rows) {
    const seen = await auth(project, 'POST', path, { body })
    assert.ok(seen.status >= 400 && seen.status < 500, `${path} ${body.slice(0, 60)}: ${seen.status}`)
    assert.equal(typeof seen.body.error_code, 'string')
  }
  const polluted = await auth(project, 'POST', '/signup', {
    body: `{"email":"${address()}","password":"${PASSWORD}","data":{"__proto__":{"admin":true}}}`,
  })
  assert.ok(polluted.status === 200 || polluted.status === 400)
  assert.equal(({} as { admin?: boolean }).admin, undefined)
  assert.equal((await auth(project, 'GET', '/health')).status, 200)
})

test('nobody gives themselves a role, an id, or what only administrators set', async () => {
  const more = {
    id: '00000000-0000-4000-8000-00000000ffff',
    aud: 'admin',
    role: 'service_role',
    app_metadata: { admin: true, provider: 'sso:x' },
    is_super_admin: true,
    is_sso_user: true,
    is_anonymous: true,
    email_confirmed_at: '2020-01-01T00:00:00Z',
    banned_until: '2099-01-01T00:00:00Z',
    confirmation_token: 'x',
    created_at: '2001-01-01T00:00:00Z',
  }
  const data = { role: 'service_role', app_metadata: { admin: true } }
  const email = address()
  const made = await auth(project, 'POST', '/signup', { body: { ...more, email, password: PASSWORD, data } })
  assert.equal(made.status, 200)
  const mine = await project.sql(
    `select role, aud, raw_app_meta_data, coalesce(is_super_admin, false) as super, is_sso_user, is_anonymous, email_confirmed_at is null as unconfirmed,
        id <> $2::uuid as own_id, created_at > now() - interval '1 hour' as new from auth.users where email = $1`,
    [email, more.id],
  )
  assert.deepEqual(mine, [
    {
      role: 'authenticated',
      aud: 'authenticated',
      raw_app_meta_data: { provider: 'email', providers: ['email'] },
      super: false,
      is_sso_user: false,
      is_anonymous: false,
      unconfirmed: true,
      own_id: true,
      new: true,
    },
  ])
  const { session, email: known } = await person()
  const row = () =>
    project.sql('select id, role, aud, raw_app_meta_data, is_super_admin, banned_until from auth.users where email = $1', [known])
  const before_ = await row()
  const token = session.access_token
  for (const body of [more, { app_metadata: { admin: true } }, { role: 'service_role' }, { banned_until: null, aud: 'x', data }]) {
    const seen = await auth(project, 'PUT', '/user', { token, body })
    assert.ok(seen.status < 500)
    assert.deepEqual(await row(), before_, JSON.stringify(body))
  }
  const fresh = await auth(project, 'POST', '/token?grant_type=refresh_token', { body: { ...more, refresh_token: session.refresh_token } })
  const claims = claimsOf(String(fresh.body.access_token)) as { role: string; app_metadata: object }
  assert.deepEqual([claims.role, claims.app_metadata], ['authenticated', { provider: 'email', providers: ['email'] }])
  for (const path of ['/admin/users', '/invite', '/admin/generate_link'])
    assert.equal((await auth(project, 'POST', path, { token, body: { email, ...more } })).status, 403, path)
})

test('a session that somebody else began never becomes yours', async () => {
  const [attacker, victim] = [await person(), await person()]
  const planted = attacker.session
  // The victim signs in while the attacker's tokens lie in the browser.
  const entered = await auth(project, 'POST', '/token?grant_type=password', {
    token: planted.access_token,
    body: {
      email: victim.email,
      password: PASSWORD,
      refresh_token: planted.refresh_token,
      session_id: claimsOf(planted.access_token).session_id,
    },
  })
  assert.equal(entered.status, 200)
  const [own, theirs] = [claimsOf(String(entered.body.access_token)), claimsOf(planted.access_token)]
  assert.notEqual(own.session_id, theirs.session_id)
  assert.equal(own.email, victim.email)
  const again = await auth(project, 'POST', '/token?grant_type=refresh_token', { body: { refresh_token: planted.refresh_token } })
  assert.equal(claimsOf(String(again.body.access_token)).email, attacker.email, 'the planted one stays what it was')
  // A link of the victim's, followed with the attacker's session, begins one of the victim's own.
  await auth(project, 'POST', '/recover', { body: { email: victim.email } })
  const { token } = await lastMail(server, project, victim.email)
  const verified = await auth(project, 'POST', '/verify', { token: planted.access_token, body: { type: 'recovery', token_hash: token } })
  const back = claimsOf(String(verified.body.access_token))
  assert.deepEqual([back.email, back.session_id === theirs.session_id, back.session_id === own.session_id], [victim.email, false, false])
})

/** Median ms of one kind of request, both kinds in turn so that the machine's mood falls on both. */
async function compared(
  times: number,
  ask: (known: boolean) => Promise<unknown>,
): Promise<{ known: number; unknown: number; spread: number; least: number }> {
  const taken: { known: number[]; unknown: number[] } = { known: [], unknown: [] }
  for (let i = 0; i < times * 2; i++) {
    const kind = i % 2 === 0 ? 'known' : 'unknown'
    const start = performance.now()
    await ask(kind === 'known')
    taken[kind].push(performance.now() - start)
  }
  const least = Math.min(...taken.known, ...taken.unknown)
  const sorted = (list: number[]) => list.toSorted((a, b) => a - b)
  const at = (list: number[], share: number) => sorted(list)[Math.floor(list.length * share)]!
  return { known: at(taken.known, 0.5), unknown: at(taken.unknown, 0.5), spread: at(taken.known, 0.75) - at(taken.known, 0.25), least }
}

test('time does not tell who has an account', async () => {
  // Each try of a password has an account of its own: wrong ones of one account slow down.
  const people = await Promise.all(Array.from({ length: TRIES }, () => person()))
  const { email } = people[0]!
  let next = 0
  const doors: Record<string, (known: boolean) => Promise<unknown>> = {
    password: (known) =>
      auth(project, 'POST', '/token?grant_type=password', {
        body: { email: known ? people[next++ % TRIES]!.email : address(), password: 'wrong' },
      }),
    recovery: (known) => auth(project, 'POST', '/recover', { body: { email: known ? email : address() } }),
    signup: (known) => auth(project, 'POST', '/signup', { body: { email: known ? email : address(), password: PASSWORD } }),
  }
  await settings(server, project, { rates: { sign_ins: 100_000, failures: 1_000, otps: 100_000, sign_ups: 100_000, mails: 100_000 } })
  for (const [name, ask] of Object.entries(doors)) {
    const { known, unknown, spread, least } = await compared(TRIES, ask)
    // What looks somebody up answers no sooner than a fixed time; a password takes its hash.
    if (name !== 'password') assert.ok(least >= LEAST, `${name}: answered after ${least.toFixed(1)} ms`)
    assert.ok(
      Math.abs(known - unknown) <= Math.max(12, 2 * spread),
      `${name}: ${known.toFixed(1)} ms known, ${unknown.toFixed(1)} ms not, spread ${spread.toFixed(1)}`,
    )
  }
})
