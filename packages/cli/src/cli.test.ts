/** The CLI as people run it, beside a real server. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../../../test/node.ts'
import { makeCli } from './cli.testing.ts'

const SCRIPT = resolve(import.meta.dirname, '../bin/sovra.sh')
const USER = '00000000-0000-4000-8000-000000000001'

let server: TestServer
const ORGANISATION = 'acme'
const cli = makeCli(() => server.dataDir)
const { home, run: sovra, answer } = cli

interface Project {
  readonly ref: string
  readonly name: string
  readonly url: string
  readonly state: string
  readonly labels: Record<string, string>
  readonly organisation: { readonly name: string }
  readonly services: readonly { readonly name: string; readonly status: string; readonly awake_because: readonly string[] }[]
}

before(async () => {
  server = await startServer()
  await server.api('POST', '/organisations', { name: ORGANISATION })
})
after(async () => {
  await server?.stop()
  cli.remove()
})

test('what is written, and what it ends with', async () => {
  const config = join(home, 'wrong.yaml')
  writeFileSync(config, 'data:\n  dir: []\n')
  const rows: { args: string[]; code: number; out?: RegExp; err?: RegExp; env?: Record<string, string> }[] = [
    { args: ['--version'], code: 0, out: /^\d+\.\d+\.\d+\n$/ },
    { args: ['--help'], code: 0, out: /Exit codes: 0 done[\s\S]*Example:/ },
    { args: ['db', 'exec', '--help'], code: 0, out: /--json[\s\S]*Examples:\n {2}sovra db exec demo/ },
    { args: ['nonsense'], code: 2, err: /unknown command/ },
    { args: ['projects', 'lst'], code: 2, err: /Did you mean list/ },
    { args: ['projects'], code: 2, err: /Usage: sovra projects/ },
    { args: ['projects', 'show'], code: 2, err: /missing required argument/ },
    { args: ['keys', 'create', 'demo', 'x', '--kind', 'anon'], code: 2, err: /Allowed choices are publishable, secret/ },
    { args: ['projects', 'create', 'x'], code: 2, err: /say which[\s\S]*acme, demo/ },
    { args: ['projects', 'create', 'x', '--data'], code: 2, err: /--from PROJECT/ },
    { args: ['projects', 'create', 'x', '--label', 'nothing'], code: 2, err: /name=value/ },
    { args: ['projects', 'create', 'demo', '--org', 'demo'], code: 1, err: /is taken/ },
    { args: ['projects', 'create', 'x', '--org', 'nowhere'], code: 4, err: /error: Not found/ },
    { args: ['projects', 'show', 'nowhere'], code: 4, err: /There is no project nowhere/ },
    { args: ['projects', 'show', 'acme/demo'], code: 4 },
    { args: ['projects', 'list', '--org', 'demo'], code: 0, out: /^NAME +ORGANISATION +REF +STATUS[\s\S]*demo +demo +[a-z]{20}/ },
    { args: ['projects', 'show', 'demo/demo'], code: 0, out: /storageKey +sb-[a-z]{20}-auth-token/ },
    { args: ['status'], code: 0, out: /Isolation +(full|same-user)/ },
    { args: ['whoami'], code: 0, out: /this machine's owner/ },
    { args: ['orgs', 'show', 'acme'], code: 0, out: /Projects +\d/ },
    { args: ['servers', 'use', 'nowhere'], code: 4, err: /Known: local/ },
    { args: ['status', '--server', 'nowhere'], code: 4 },
    { args: ['status', '--server', 'http://127.0.0.1:1'], code: 6, err: /does not answer/ },
    { args: ['status'], code: 6, err: /No server runs on[\s\S]*sovra start/, env: { SOVRABASE_DATA_DIR: join(home, 'empty') } },
    { args: ['status'], code: 2, err: /wrong\.yaml:2:\d+/, env: { SOVRABASE_DATA_DIR: '', CONFIG_PATH: config } },
    { args: ['upgrade'], code: 2, err: /--all/ },
    { args: ['upgrade', '--all', '--parallel', '0'], code: 2 },
    { args: ['upgrade', '--label', 'of=none'], code: 0, out: /There is no such project/ },
    { args: ['backup', 'create', '--label', 'of=none', '--to', '/tmp'], code: 2, err: /no such project/ },
    { args: ['upgrade', 'demo'], code: 0, out: /demo +\S+ +[a-z]{20} +done +current \(\d+\)\n1 project done, 0 failed/ },
    { args: ['auth', 'token', 'demo', '--sub', 'me'], code: 2, err: /uuid/ },
    { args: ['start'], code: 3, err: /Already running: pid \d+, http/ },
    { args: ['admin', 'link'], code: 0, out: /^http:\/\/127\.0\.0\.1:\d+\/(setup|admin-link)\?token=\S+\n$/ },
    { args: ['admin', 'link', 'nobody@example.org'], code: 4, err: /no administrator nobody@example\.org/ },
    { args: ['completion', 'tcsh'], code: 2 },
  ]
  const check = async ({ args, code, out, err, env = {} }: (typeof rows)[number]) => {
    const ran = await sovra(args, { env })
    const label = `sovra ${args.join(' ')}`
    assert.equal(ran.code, code, `${label}: ${ran.err}`)
    if (out) assert.match(ran.out, out, label)
    if (err) assert.match(ran.err, err, label)
    if (code !== 0) assert.equal(ran.out, '', label)
  }
  // A few at once: most of each is waiting.
  const left = rows.values()
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      for (const row of left) await check(row)
    }),
  )
})

test('errors as JSON: code, message, hint', async () => {
  const ran = await sovra(['projects', 'show', 'nowhere', '--json'])
  assert.deepEqual([ran.code, ran.out], [4, ''])
  const { code, message, hint } = JSON.parse(ran.err) as Record<string, string>
  assert.deepEqual([code, message], ['project_unknown', 'There is no project nowhere.'])
  assert.match(hint ?? '', /projects list/)
})

test('projects show --json has what an application needs, and it works', async () => {
  const shown = await answer<Record<string, string> & Project>(['projects', 'show', 'demo'])
  for (const name of ['ref', 'url', 'storage_key', 'anon_key', 'service_role_key', 'jwt_secret', 'db_url'])
    assert.ok(typeof shown[name] === 'string' && shown[name].length > 10, name)
  assert.equal(shown.services[0]?.name, 'db')
  const { token } = await answer<{ token: string }>(['auth', 'token', 'demo', '--sub', USER, '--for', '10m'])
  const response = await fetch(`${shown.url}/rest/v1/todos?select=id`, {
    headers: { apikey: shown.anon_key ?? '', authorization: `Bearer ${token}` },
  })
  assert.deepEqual([response.status, ((await response.json()) as unknown[]).length > 0], [200, true])
  const printed = await sovra(['projects', 'show', 'demo'])
  assert.ok(!printed.out.includes(shown.jwt_secret ?? '') && !printed.out.includes(shown.service_role_key ?? ''))
  assert.ok(printed.out.includes(shown.anon_key ?? ''))
  const url = await sovra(['db', 'url', 'demo'])
  assert.equal(url.out.trim(), shown.db_url)
})

test('the life of a project', async () => {
  const made = await answer<Project>([
    'projects',
    'create',
    'shop',
    '--org',
    ORGANISATION,
    '--label',
    'stage=test',
    '--label',
    'a=',
    '--wait',
  ])
  assert.deepEqual(made.labels, { stage: 'test', a: '' })
  const sql = 'create table goods (id int primary key); insert into goods values (1), (2)'
  assert.equal((await sovra(['db', 'exec', 'shop', sql])).out, 'CREATE\n\nINSERT 2\n')
  const copy = await answer<Project>(['projects', 'create', 'copy', '--org', ORGANISATION, '--from', 'shop', '--data', '--wait'])
  assert.deepEqual(await answer(['db', 'exec', copy.ref, 'select count(*) as n from goods']), [{ n: 2 }])

  const listed = await answer<Project[]>(['projects', 'list', '--label', 'stage=test'])
  assert.deepEqual(
    listed.map(({ ref }) => ref),
    [made.ref],
  )
  await answer(['projects', 'sleep', 'shop', '--force'])
  const woken = await answer<Project>(['projects', 'wake', 'shop'])
  assert.equal(woken.services[0]?.status, 'awake')
  const awake = (await answer<Project[]>(['projects', 'list', '--org', ORGANISATION])).find(({ ref }) => ref === made.ref)
  assert.ok((awake?.services[0]?.awake_because.length ?? 0) > 0)

  assert.equal((await answer<Project>(['projects', 'rename', 'shop', 'store'])).name, 'store')
  assert.deepEqual((await answer<Project>(['projects', 'label', 'store', 'b=c', 'stage-'])).labels, { a: '', b: 'c' })
  await answer(['orgs', 'create', 'globex', '--title', 'Globex'])
  assert.equal((await answer<Project>(['projects', 'move', 'store', 'globex'])).organisation.name, 'globex')
  const deleted = await sovra(['projects', 'delete', 'globex/store'])
  assert.match(deleted.out, /Until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: sovra projects restore [a-z]{20}/)
  assert.equal((await sovra(['projects', 'show', 'store'])).code, 4)
  assert.match((await sovra(['projects', 'list', '--deleted'])).out, /store.*deleted.*can be restored until/)
  const back = await answer<Project>(['projects', 'restore', 'store', '--name', 'again'])
  assert.deepEqual([back.ref, back.name, back.state], [made.ref, 'again', 'active'])
  await answer(['projects', 'delete', 'again'])
  assert.equal((await answer<Project>(['projects', 'restore', made.ref])).name, 'again')

  await answer(['projects', 'create', 'again', '--org', ORGANISATION])
  const ambiguous = await sovra(['projects', 'show', 'again'])
  assert.equal(ambiguous.code, 2)
  assert.match(ambiguous.err, /acme\/again, globex\/again/)
})

test('db exec: rows, statements, errors', async () => {
  const file = join(home, 'some.sql')
  writeFileSync(file, 'select 7 as seven')
  const values = `select 1 as a, 'x\ny' as b, null as c, 9007199254740993::int8 as big, '{"k":1}'::jsonb as j, 1.50 as n, true as t, date '2026-01-02' as d, 2 as a`
  const json: [string[], unknown, string?][] = [
    [[values], [{ a: 1, b: 'x\ny', c: null, big: '9007199254740993', j: { k: 1 }, n: '1.50', t: true, d: '2026-01-02', a_2: 2 }]],
    [['select 1 as a where false'], []],
    [['select 1 as a; select 2 as b'], [[{ a: 1 }], [{ b: 2 }]]],
    [['-f', file], [{ seven: 7 }]],
    [['-f', '-'], [{ x: 'é' }], "select 'é' as x"],
  ]
  for (const [args, rows, input = ''] of json) assert.deepEqual(await answer(['db', 'exec', 'demo', ...args], { input }), rows)

  const shown = await sovra(['db', 'exec', 'demo', "select 1 as one, null as nothing, E'\\x1b[2J' as screen"])
  assert.equal(shown.out, 'one  nothing  screen\n  1  NULL     \\x1b[2J\n(1 row)\n')
  const notice = await sovra(['db', 'exec', 'demo', "do $$ begin raise notice 'hello'; end $$"])
  assert.deepEqual([notice.out, notice.err], ['DO\n', 'NOTICE: hello\n'])

  const wrong = await sovra(['db', 'exec', 'demo', 'select 1;\nselect * fro todos'])
  assert.equal(wrong.code, 1)
  assert.equal(wrong.err, 'error: syntax error at or near "fro" (SQLSTATE 42601)\nLINE 2: select * fro todos\n                 ^\n')
  const hinted = await sovra(['db', 'exec', 'demo', 'select titel from todos', '--json'])
  const error = JSON.parse(hinted.err) as { code: string; hint: string; details: Record<string, unknown> }
  assert.deepEqual([hinted.code, error.code, error.details.sqlstate, error.details.position], [1, 'sql_failed', '42703', '8'])
  assert.match(error.hint, /todos\.title/)

  // One transaction: the first statement is undone with the second.
  assert.equal((await sovra(['db', 'exec', 'demo', 'create table undone (); select 1/0'])).code, 1)
  assert.deepEqual(await answer(['db', 'exec', 'demo', "select to_regclass('undone') as found"]), [{ found: null }])
  for (const args of [[], ['select 1', '-f', file], ['-f', join(home, 'missing.sql')]])
    assert.equal((await sovra(['db', 'exec', 'demo', ...args])).code, 2)
})

test('db shell: the small one, and psql where there is one', async () => {
  const small = await sovra(['db', 'shell', 'demo'], {
    input: "select 1 as one;\nselect\n'a;b' as two;\nbroken;\n",
    env: { SOVRA_SHELL: 'small' },
  })
  assert.equal(small.code, 1)
  assert.match(small.out, /^one\n {2}1\n\(1 row\)\ntwo\na;b\n\(1 row\)\nerror: syntax error/)
  const any = await sovra(['db', 'shell', 'demo'], { input: 'select 40 + 2 as answer;\n' })
  assert.equal(any.code, 0, any.err)
  assert.match(any.out, /answer[\s\S]*42/)
})

test('keys: made, shown, revoked, rotated', async () => {
  const made = await sovra(['keys', 'create', 'demo', 'worker', '--kind', 'secret'])
  assert.match(made.out, /^sb_secret_\S+\n$/)
  const { url } = await answer<Project>(['projects', 'show', 'demo'])
  const read = async () => (await fetch(`${url}/rest/v1/todos`, { headers: { apikey: made.out.trim() } })).status
  assert.equal(await read(), 200)
  assert.match((await sovra(['keys', 'list', 'demo'])).out, /worker +secret +service_role +sb_secret_\S+… +good/)
  assert.ok(!(await sovra(['keys', 'list', 'demo'])).out.includes(made.out.trim()))
  assert.ok((await sovra(['keys', 'list', 'demo', '--reveal'])).out.includes(made.out.trim()))
  assert.equal((await sovra(['keys', 'revoke', 'demo', 'worker'])).code, 0)
  assert.equal(await read(), 401)
  assert.equal((await sovra(['keys', 'revoke', 'demo', 'worker'])).code, 4)
  const before = await answer<Record<string, string>>(['projects', 'show', 'demo'])
  const after = await answer<Record<string, string>>(['keys', 'rotate', 'demo'])
  assert.notEqual(after.jwt_secret, before.jwt_secret)
  assert.notEqual(after.anon_key, before.anon_key)
})

test('login by password and by token, named servers, logout', async () => {
  const [email, password] = ['ada@example.org', 'correct horse battery staple']
  const invitation = await sovra(['members', 'invite', email, '--role', 'viewer', '--org', ORGANISATION])
  const token = new URL(invitation.out.trim()).searchParams.get('token') ?? ''
  const joined = await fetch(`${server.url}/invitation`, { method: 'POST', body: new URLSearchParams({ token, email, password }) })
  assert.equal(joined.status, 200)
  assert.match((await sovra(['members', 'list', '--org', ORGANISATION])).out, /ada@example\.org +viewer +all/)

  const wrong = await sovra(['login', server.url, '--email', email], { input: 'wrong\n' })
  assert.deepEqual([wrong.code, JSON.stringify(wrong.err).includes('wrong')], [1, false])
  const signedIn = await sovra(['login', server.url, '--name', 'mine', '--email', email], { input: `${password}\n` })
  assert.equal(signedIn.code, 0, signedIn.err)
  const file = join(home, '.config/sovrabase/servers.json')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.ok(!readFileSync(file, 'utf8').includes(password))
  try {
    assert.match((await sovra(['whoami'])).out, /mine[\s\S]*ada@example\.org[\s\S]*viewer of acme/)
    assert.match((await sovra(['servers', 'list'])).out, /\* +mine/)
    assert.match((await sovra(['whoami', '--server', 'local'])).out, /this machine's owner/)
    // Bound to acme as a viewer: the demo is not to be known of, keys are not to be seen, nothing is to be made.
    assert.equal((await sovra(['projects', 'show', 'demo'])).code, 4)
    assert.equal((await sovra(['projects', 'create', 'x'])).code, 1)
    const made = await answer<{ token: string }>(['tokens', 'create', 'script', '--for', '1h'], { input: `${password}\n` })
    assert.equal((await sovra(['tokens', 'create', 'x', '--server', 'local'])).code, 2)
    assert.match((await sovra(['tokens', 'list'])).out, /script[\s\S]*sovra on /)
    await answer(['servers', 'use', 'local'])
    const byToken = await sovra(['login', server.url, '--name', 'other', '--token', '-'], { input: `${made.token}\n` })
    assert.match(byToken.out, /Signed in to other .* as ada@example\.org/)
    const env = { SOVRA_SERVER: server.url, SOVRA_TOKEN: made.token }
    assert.equal((await answer<{ email: string }>(['whoami'], { env })).email, email)
    const bare = await sovra(['whoami'], { env: { SOVRA_SERVER: server.url } })
    assert.deepEqual([bare.code, /sovra login http/.test(bare.err)], [5, true])
    const { token: kept } = (JSON.parse(readFileSync(file, 'utf8')) as { servers: Record<string, { token: string }> }).servers.mine ?? {}
    for (const name of ['mine', 'other']) assert.equal((await sovra(['logout', name])).code, 0)
    // The token that the login made is revoked, not only forgotten.
    const ended = await sovra(['whoami'], { env: { SOVRA_SERVER: server.url, SOVRA_TOKEN: kept ?? '' } })
    assert.equal(ended.code, 5)
  } finally {
    rmSync(file, { force: true })
  }
  assert.match((await sovra(['members', 'role', email, 'developer', '--org', ORGANISATION])).out, /is developer now/)
  assert.equal((await sovra(['members', 'remove', email, '--org', ORGANISATION])).code, 0)
  assert.equal((await sovra(['members', 'remove', email, '--org', ORGANISATION])).code, 4)
})

test('upgrade --all wakes nothing that is current', async () => {
  await answer(['projects', 'sleep', 'demo', '--force'])
  const outcomes = await answer<{ name: string; result: { system_version: number } | null }[]>(['upgrade', '--all'])
  assert.ok((outcomes.find(({ name }) => name === 'demo')?.result?.system_version ?? 0) > 0)
  assert.equal((await answer<Project>(['projects', 'show', 'demo'])).services[0]?.status, 'asleep')
})

test("npm's link runs it, from anywhere", async () => {
  const link = join(home, 'sovra')
  symlinkSync(SCRIPT, link)
  const ran = await sovra(['projects', 'list'], { program: [link] })
  assert.equal(ran.code, 0, ran.err)
  assert.match(ran.out, /demo/)
})

test('completion of bash completes groups, commands and flags', async () => {
  const { out } = await sovra(['completion', 'bash'])
  const script = join(home, 'completion.bash')
  const complete = (words: readonly string[]) =>
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _sovra; echo "\${COMPREPLY[*]}"`
  writeFileSync(
    script,
    [out, complete(['sovra', 'stat']), complete(['sovra', 'projects', 'cr']), complete(['sovra', 'projects', 'create', 'x', '--la'])].join(
      '\n',
    ),
  )
  const ran = await sovra([script], { program: ['bash'] })
  assert.deepEqual([ran.out, ran.err], ['status\ncreate\n--label\n', ''])
  for (const shell of ['zsh', 'fish']) assert.match((await sovra(['completion', shell])).out, /projects create/)
})
