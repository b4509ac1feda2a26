/** Users come in from other systems with their ids and passwords, and go out again, by the command line. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { client } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'
import { until } from '../until.ts'

let server: TestServer
let project: TestProject
const cli = makeCli(() => server.dataDir)
async function sovra(...args: string[]) {
  const { code, out, err } = await cli.run(args)
  return { status: code, stdout: out, stderr: err }
}
const folder = mkdtempSync(join(tmpdir(), 'sovra-users-'))
before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'movers')
})
after(async () => {
  await server?.stop()
  cli.remove()
  rmSync(folder, { recursive: true, force: true })
})

const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
async function moved(...args: string[]) {
  const { status, stdout, stderr } = await sovra('auth', ...args, '--json')
  return {
    status,
    told: JSON.parse(stdout || stderr) as {
      read: number
      created: number
      skipped: number
      refused: number
      reasons: { at: string; reason: string }[]
    },
  }
}
const enters = async (email: string, password: string) => {
  const { data, error } = await client(project).auth.signInWithPassword({ email, password })
  assert.equal(error, null, email)
  return data.user!
}

// "correct horse" by crypt(3), bcrypt of cost 4.
const HASH = '$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e'

test('a CSV file: a dry run first, then once, then again', async () => {
  const path = file('users.csv', 'email,name,email_confirmed\n"a@example.org","Zoé ""Z"" D, Paris",true\nnobody,x,\nb@example.org,,\n')
  const dry = await moved('import', project.ref, path, '--format', 'csv', '--dry-run')
  assert.deepEqual(
    [dry.told.read, dry.told.created, dry.told.refused, dry.told.reasons],
    [3, 2, 1, [{ at: 'record 3', reason: 'email is not an address' }]],
  )
  const { auth } = client(project, project.service)
  assert.equal((await auth.admin.listUsers()).data.users.length, 0)
  const done = await moved('import', project.ref, path, '--format', 'csv')
  assert.deepEqual([done.status, done.told.created], [1, 2])
  const again = await moved('import', project.ref, path, '--format', 'csv')
  assert.deepEqual([again.told.created, again.told.skipped], [0, 2])
  const users = (await auth.admin.listUsers()).data.users
  const zoe = users.find(({ email }) => email === 'a@example.org')
  assert.equal(zoe?.user_metadata.name, 'Zoé "Z" D, Paris')
  assert.ok(zoe?.email_confirmed_at)
})

test('a dump of a Supabase project keeps ids, passwords and identities', async () => {
  const id = '11111111-1111-4111-8111-111111111111'
  const columns =
    'instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at, phone, deleted_at, is_sso_user, is_anonymous'
  const row = [
    '00000000-0000-0000-0000-000000000000',
    id,
    'authenticated',
    'authenticated',
    'c@example.org',
    HASH,
    '2025-01-02 03:04:05+00',
    '{"provider": "email", "providers": ["email", "github"]}',
    '{"note": "tab\\\\there"}',
    '2025-01-01 00:00:00+00',
    '\\N',
    '\\N',
    'f',
    'f',
  ]
  const dump = file(
    'dump.sql',
    `-- dump\nCOPY auth.users (${columns}) FROM stdin;\n${row.join('\t')}\n\\.\n\nCOPY "auth"."identities" ("provider_id", "user_id", "identity_data", "provider") FROM stdin;\n42\t${id}\t{"sub": "42", "user_name": "zoe"}\tgithub\n${id}\t${id}\t{"sub": "${id}", "email": "c@example.org"}\temail\n\\.\n`,
  )
  const done = await moved('import', project.ref, dump, '--format', 'supabase')
  assert.deepEqual([done.status, done.told.created, done.told.refused], [0, 3, 0])
  const user = await enters('c@example.org', 'correct horse')
  assert.deepEqual([user.id, user.identities?.map(({ provider }) => provider).sort()], [id, ['email', 'github']])
  assert.equal(user.created_at, '2025-01-01T00:00:00.000Z')
})

test('an export of Firebase with the parameters of its scrypt', async () => {
  // The example of firebase/scrypt: password "user1password".
  const hash = file(
    'scrypt.json',
    JSON.stringify({
      base64_signer_key: 'jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==',
      base64_salt_separator: 'Bw==',
      rounds: 8,
      mem_cost: 14,
    }),
  )
  const users = file(
    'firebase.json',
    JSON.stringify({
      users: [
        {
          localId: 'Ab[1]{',
          email: 'd@example.org',
          emailVerified: true,
          passwordHash: 'lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==',
          salt: '42xEC-ixf3L2lw==',
          displayName: 'D "Q"',
          createdAt: '1700000000000',
          providerUserInfo: [{ providerId: 'google.com', rawId: '99', email: 'd@example.org' }],
        },
        { localId: 'two', phoneNumber: '+33600000009', createdAt: '1700000000000', disabled: true },
      ],
    }),
  )
  const done = await moved('import', project.ref, users, '--format', 'firebase', '--hash', hash)
  assert.deepEqual([done.status, done.told.created], [0, 2], JSON.stringify(done.told))
  const user = await enters('d@example.org', 'user1password')
  assert.deepEqual([user.app_metadata.firebase_uid, user.user_metadata.name], ['Ab[1]{', 'D "Q"'])
  assert.deepEqual(user.identities?.map(({ provider }) => provider).sort(), ['email', 'google'])
})

test('a row that is none is refused and the others come in; a file of another format is told; Ctrl-C, then again', async () => {
  const target = await createProject(server, 'rows')
  const row = (n: number) => JSON.stringify({ email: `row-${n}@example.org` })
  const path = file('rows.ndjson', [row(1), '{"email": "torn', row(2), '[]', ''].join('\n'))
  const done = await moved('import', target.ref, path)
  assert.deepEqual([done.status, done.told.read, done.told.created, done.told.refused], [1, 4, 2, 2])
  assert.deepEqual(
    done.told.reasons.map(({ at }) => at),
    ['line 2', 'line 4'],
  )
  const wrong = await sovra('auth', 'import', target.ref, file('x.csv', 'email\na@example.org\n'))
  assert.match(wrong.stderr, /line 1: it is no object of JSON/)

  const many = 15_000
  const large = file('large.ndjson', Array.from({ length: many }, (_, n) => row(n + 10)).join('\n'))
  const running = cli.start(['auth', 'import', target.ref, large, '--json'])
  const count = async () => Number((await target.sql('select count(*)::int as n from auth.users'))[0]?.n)
  await until(async () => (await count()) > 2)
  running.child.kill('SIGINT')
  const ended = await running.ended
  const told = JSON.parse(ended.out) as { created: number; interrupted: boolean }
  assert.deepEqual([ended.code, told.interrupted, told.created < many], [130, true, true], ended.err)
  assert.equal(await count(), told.created + 2, 'what it says came in')
  const again = await moved('import', target.ref, large)
  assert.deepEqual([again.status, again.told.created, again.told.skipped], [0, many - told.created, told.created])
})

test('what goes out comes in elsewhere as it was', async () => {
  const path = join(folder, 'out.ndjson')
  const out = await sovra('auth', 'export', project.ref, '--out', path)
  assert.equal(out.status, 0, out.stderr)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  assert.equal(lines.length, 5)
  const other = await createProject(server, 'arrived')
  assert.equal((await moved('import', other.ref, path)).told.created, 5)
  const { data, error } = await client(other).auth.signInWithPassword({ email: 'c@example.org', password: 'correct horse' })
  assert.equal(error, null)
  assert.equal(data.user?.id, '11111111-1111-4111-8111-111111111111')
})

test('the outbox, a preview and a test of the mail server', async () => {
  await client(project).auth.resetPasswordForEmail('c@example.org')
  const box = await sovra('auth', 'outbox', project.ref)
  assert.match(box.stdout, /c@example\.org/)
  assert.match(box.stdout, /\/auth\/v1\/verify\?token=/)
  assert.match(box.stderr, /mail_not_configured, 1 waiting/)
  const shown = await sovra('auth', 'mail', 'preview', project.ref, 'confirmation', '--language', 'fr')
  assert.match(shown.stdout, /^Confirmez votre adresse\n/)
  const tested = await sovra('auth', 'mail', 'test', project.ref, 'you@example.org')
  assert.notEqual(tested.status, 0)
  assert.match(tested.stderr, /No SMTP server is set/)
})
