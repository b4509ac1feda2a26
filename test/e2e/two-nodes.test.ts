/** Two servers on one metadata database: what one of them changes, the other one goes by. Its gateway alone is asked: the cluster is the first one's. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { auth, client, settings } from '../auth.ts'
import { databaseFor } from '../metadata-database.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'
import { freePort } from '../s3.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const PASSWORD = 'correct horse battery'
const parent = mkdtempSync(join(tmpdir(), 'sovra-test-'))
let database: Awaited<ReturnType<typeof databaseFor>>
let one: TestServer
let other: TestServer
let project: TestProject
/** The same project, at the other node. */
let there: TestProject

before(async () => {
  database = await databaseFor('postgresql')
  // Both are known by one address, so each is told its port.
  const [first, second] = [await freePort(), await freePort()]
  const env = { SOVRABASE_DEMO: 'off', SOVRABASE_API_PUBLIC_URL: `http://127.0.0.1:${first}`, ...database.env }
  const start = (name: string, port: number) =>
    startServer({ dataDir: newDataDir(join(parent, name)), env: { ...env, SOVRABASE_NODE_NAME: name, SOVRABASE_API_PORT: String(port) } })
  one = await start('one', first)
  project = await createProject(one, 'shared')
  await settings(one, project, { email_autoconfirm: true })
  // A node has the keys of the installation, and nothing else of another one's.
  cpSync(join(parent, 'one', 'keys'), join(parent, 'other', 'keys'), { recursive: true })
  other = await start('other', second)
  there = { ...project, url: `http://127.0.0.1:${second}/p/${project.ref}` }
})
after(async () => {
  await Promise.all([one?.kill(), other?.kill('SIGKILL')])
  await database?.remove()
  rmSync(parent, { recursive: true, force: true })
})

/** 401: refused by the gateway. Anything else: let through, to a cluster that is not here. */
const refused = async (token: string) => (await rest(there, there.anon, 'GET', '/', { token })).status === 401
const ofKey = async (key: string) => (await rest(there, key, 'GET', '/')).status === 401

test('settings, keys and ended sessions are known to the other node', async (t) => {
  /** What the other one was asked before is kept there: it has to hear of the change. */
  async function heard(what: string, change: () => Promise<unknown>, known: () => Promise<boolean>) {
    assert.equal(await known(), false, `${what}: before`)
    await change()
    const began = performance.now()
    await until(known, 20_000, 10)
    t.diagnostic(`${what}: ${Math.round(performance.now() - began)} ms`)
  }
  const anonymous = async () => (await auth(there, 'GET', '/settings')).body.external as unknown as { anonymous_users: boolean } | undefined
  await heard(
    'a setting',
    () => settings(one, project, { anonymous_users: true }),
    async () => (await anonymous())?.anonymous_users === true,
  )
  const signing = `/projects/${project.ref}/signing-keys`
  let kid = ''
  const published = async () =>
    ((await auth(there, 'GET', '/.well-known/jwks.json', { key: null })).body.keys as { kid: string }[]).some((key) => key.kid === kid)
  await heard('a next key', async () => (kid = (await one.api<{ kid: string }>('POST', signing, {})).body.kid), published)

  const own = client(project)
  const former = (await own.auth.signUp({ email: 'ada@example.org', password: PASSWORD })).data.session!.access_token
  await until(async () => !(await refused(former)))
  await one.api('POST', `${signing}/rotate`)
  const { data } = await client(project).auth.signInWithPassword({ email: 'ada@example.org', password: PASSWORD })
  const token = data.session!.access_token
  assert.equal(await refused(token), false, 'signed by a key that was published before')
  const old = JSON.parse(Buffer.from(former.split('.')[0]!, 'base64url').toString()).kid as string
  await heard(
    'a revoked signing key',
    () => one.api('DELETE', `${signing}/${old}`),
    () => refused(former),
  )

  const keys = `/projects/${project.ref}/keys`
  let made = { id: '', key: '' }
  await heard(
    'a new API key',
    async () => (made = (await one.api<typeof made>('POST', keys, { name: 'app', kind: 'publishable' })).body),
    async () => made.key !== '' && !(await ofKey(made.key)),
  )
  await heard(
    'a revoked API key',
    () => one.api('DELETE', `${keys}/${made.id}`),
    () => ofKey(made.key),
  )
  await heard(
    'a session that ended',
    () => auth(project, 'POST', '/logout', { token }),
    () => refused(token),
  )
  assert.equal(await refused(former), true)
})
