import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Type } from 'typebox'
import { eachMetadata } from '../../../../test/databases.ts'
import { startPostgres } from '../../../../test/engines.ts'
import { until } from '../../../../test/until.ts'
import { makeVault } from '../base/crypto.ts'
import { isUniqueViolation } from '../base/db/errors.ts'
import { isSovraError } from '../base/errors.ts'
import { uuid } from '../base/ids.ts'
import { SYSTEM } from './change.ts'
import { claimFact, getFact, removeFact, setFact } from './facts.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { joinNodes, listNodes } from './nodes.ts'
import { type Metadata, metadataOptions, openMetadata } from './open.ts'
import { retentionDefault, startSweeper, sweep } from './retention.ts'
import { hideSecrets, openSecrets, sealSecrets } from './sealed.ts'
import { readSettings, removeSettings, shownSettings, writeSettings } from './settings.ts'

const DAY = 86_400_000
const vault = makeVault(randomBytes(32))
const ref = 'abcdefghijklmnopqrst'

const organisation = (name: string) => ({ id: uuid(), name, title: name, quotas: '{}', created_at: 1, updated_at: 1, deleted_at: null })
const project = (organisation_id: string, name: string, own: string, deleted_at: number | null = null) => ({
  ...{ ref: own, organisation_id, name, region: 'local', labels: '{}', state: 'active', version: 1, created_at: 1, updated_at: 1 },
  ...{ deleted_at, purge_at: null },
})
const user = (email: string, is_sso_user: 0 | 1 = 0) => ({
  ...{
    id: uuid(),
    aud: 'authenticated',
    role: 'authenticated',
    email,
    is_sso_user,
    is_anonymous: 0 as const,
    created_at: 1,
    updated_at: 1,
  },
})

const count = async (
  metadata: Metadata,
  table: 'events' | 'jobs' | 'invitations' | 'auth_sessions' | 'auth_refresh_tokens' | 'denied_sessions',
) =>
  Number(
    (
      await metadata.kysely
        .selectFrom(table)
        .select((eb) => eb.fn.countAll().as('n'))
        .executeTakeFirstOrThrow()
    ).n,
  )

eachMetadata((name, open) => {
  test('names are unique among the living of an organisation', async () => {
    const { metadata } = await open()
    const [acme, other] = [organisation('acme'), organisation('other')]
    const db = metadata.kysely
    await db.insertInto('organisations').values([acme, other]).execute()
    await assert.rejects(db.insertInto('organisations').values(organisation('acme')).execute(), isUniqueViolation)
    await db
      .insertInto('projects')
      .values(project(acme.id, 'app', 'a'))
      .execute()
    await db
      .insertInto('projects')
      .values(project(other.id, 'app', 'b'))
      .execute()
    await assert.rejects(
      db
        .insertInto('projects')
        .values(project(acme.id, 'app', 'c'))
        .execute(),
      isUniqueViolation,
    )
    await db.updateTable('projects').set({ deleted_at: 5 }).where('ref', '=', 'a').execute()
    await db
      .insertInto('projects')
      .values(project(acme.id, 'app', 'd'))
      .execute()
    await assert.rejects(db.updateTable('projects').set({ deleted_at: null }).where('ref', '=', 'a').execute(), isUniqueViolation)
  })

  test('one role for the organisation and one for each project', async () => {
    const { metadata } = await open()
    const acme = organisation('acme')
    await metadata.kysely.insertInto('organisations').values(acme).execute()
    const member = (project_ref: string | null) =>
      metadata.kysely
        .insertInto('memberships')
        .values({ id: uuid(), organisation_id: acme.id, user_id: 'u', project_ref, role: 'owner', created_at: 1, updated_at: 1 })
        .execute()
    await member(null)
    await member(ref)
    await assert.rejects(member(null), isUniqueViolation)
    await assert.rejects(member(ref), isUniqueViolation)
  })

  test('one e-mail address is one person, but people of an SSO provider stand beside; what is theirs goes with them', async () => {
    const { metadata } = await open()
    const db = metadata.kysely
    const ana = user('ana@example.org')
    await db.insertInto('auth_users').values(ana).execute()
    await assert.rejects(db.insertInto('auth_users').values(user('ana@example.org')).execute(), isUniqueViolation)
    await db
      .insertInto('auth_users')
      .values([user('ana@example.org', 1), user('ana@example.org', 1)])
      .execute()
    await db.insertInto('auth_sessions').values({ id: 's', user_id: ana.id, created_at: 1, updated_at: 1 }).execute()
    await db
      .insertInto('auth_refresh_tokens')
      .values({ token: 't', user_id: ana.id, revoked: 0, session_id: 's', created_at: 1, updated_at: 1 })
      .execute()
    await db.deleteFrom('auth_users').where('id', '=', ana.id).execute()
    assert.equal(await count(metadata, 'auth_sessions'), 0)
    assert.equal(await count(metadata, 'auth_refresh_tokens'), 0)
  })

  test('facts', async () => {
    const { metadata, again } = await open()
    assert.equal(await getFact(metadata.kysely, 'wire.port'), undefined)
    await metadata.transaction((trx) => setFact(trx, 'wire.port', { port: 5432 }))
    await metadata.transaction((trx) => setFact(trx, 'wire.port', { port: 6432 }))
    assert.deepEqual(await getFact(metadata.kysely, 'wire.port'), { port: 6432 })
    const claims = await Promise.all([metadata, again(), again()].map((at) => at.transaction((trx) => claimFact(trx, 'demo'))))
    assert.deepEqual(claims.sort(), [false, false, true])
    await metadata.transaction((trx) => removeFact(trx, 'demo'))
    assert.equal(await getFact(metadata.kysely, 'demo'), undefined)
  })

  test('settings: defaults, versions, events, conflicts, refusals', async () => {
    const { metadata, change, bus, again } = await open()
    const heard: unknown[] = []
    bus.on(['settings.changed'], (row) => void heard.push([row.project_ref, row.subject, row.after]))
    const read = () => readSettings(metadata.kysely, ref, 'rest', vault)
    assert.deepEqual([(await read()).version, (await read()).value.schemas, (await read()).own], [0, ['public'], {}])
    const write = (value: Parameters<typeof writeSettings<'rest'>>[3], version?: number) =>
      change(SYSTEM, (c) => writeSettings(c, ref, 'rest', value, { vault, version }))
    assert.equal(await write({ max_rows: 10 }, 0), 1)
    assert.equal(await write({ max_rows: 10, app_settings: { region: 'fr' } }, 1), 2)
    assert.deepEqual((await read()).own, { max_rows: 10, app_settings: { region: 'fr' } })
    assert.equal((await read()).value.default_grants, 'none')
    assert.deepEqual(heard, [
      [ref, 'rest', '{"version":1,"keys":["max_rows"]}'],
      [ref, 'rest', '{"version":2,"keys":["max_rows","app_settings"]}'],
    ])
    await assert.rejects(write({}, 1), (error) => isSovraError(error, 'setting_changed'))
    await assert.rejects(write({ max_rows: -1 }), (error) => isSovraError(error, 'setting_malformed') && error.message.includes('max_rows'))
    await assert.rejects(
      write({ unknown: 1 } as never),
      (error) => isSovraError(error, 'setting_malformed') && /at \/unknown: there is no such key\.$/.test(error.message),
    )
    assert.equal((await readSettings(again().kysely, 'platform', 'rest', vault)).version, 0)
    await metadata.transaction((trx) => removeSettings(trx, ref))
    assert.equal((await read()).version, 0)
  })

  test('nodes: a row a process, alive while it beats', async () => {
    const { metadata, again } = await open()
    let time = 1_000_000
    const now = () => time
    const record = { id: uuid(), name: 'n1', region: 'eu', url: null, roles: ['control', 'gateway'] }
    const one = await joinNodes(metadata, record, { now, beat: 20 })
    const two = await joinNodes(again(), { ...record, id: uuid(), name: 'n2' }, { now, beat: 3_600_000 })
    assert.deepEqual(
      (await listNodes(metadata, time)).map(({ name: of, alive, roles }) => [of, alive, roles]),
      [
        ['n1', true, record.roles],
        ['n2', true, record.roles],
      ],
    )
    time += 60_000
    await until(async () => (await listNodes(metadata, time)).find((node) => node.name === 'n1')?.alive)
    assert.equal((await listNodes(metadata, time)).find((node) => node.name === 'n2')?.alive, false)
    await metadata.kysely.deleteFrom('nodes').execute()
    await until(async () => (await listNodes(metadata, time)).length === 1)
    await one.close()
    await two.close()
    assert.deepEqual(await listNodes(metadata, time), [])
  })

  test('what is past its retention goes, the rest stays', async () => {
    const now = 20_000 * DAY
    const { metadata, change, queue } = await open({ now: () => now })
    const db = metadata.kysely
    await change(SYSTEM, async (c) => {
      for (let n = 0; n < 3; n++) await c.event({ name: 'node.started', subject: String(n) })
      await c.job({ kind: 'k', key: 'unfinished' })
    })
    await db
      .updateTable('events')
      .set({ created_at: now - retentionDefault('events') - 1 })
      .where('subject', '=', '0')
      .execute()
    await db.updateTable('events').set({ created_at: now }).where('subject', '!=', '0').execute()
    const denied = Array.from({ length: 450 }, (_, n) => ({
      realm: 'platform',
      session_id: `s${n}`,
      expires_at: n === 0 ? now + 1 : now - 1,
    }))
    for (let at = 0; at < denied.length; at += 50)
      await db
        .insertInto('denied_sessions')
        .values(denied.slice(at, at + 50))
        .execute()
    await db
      .insertInto('idempotent_answers')
      .values({ key: 'k', actor: 'a', fingerprint: 'f', headers: '{}', created_at: 1, expires_at: now - 1 })
      .execute()
    assert.deepEqual(await sweep(metadata, {}, now), { events: 1, denied_sessions: 449, idempotent_answers: 1 })
    assert.deepEqual(await sweep(metadata, {}, now), {})
    assert.deepEqual(await sweep(metadata, { events: -1 }, now), { events: 2 })
    assert.deepEqual([await count(metadata, 'events'), await count(metadata, 'denied_sessions'), await count(metadata, 'jobs')], [0, 1, 1])
    await startSweeper(metadata, queue, { now: () => now })
    await startSweeper(metadata, queue, { now: () => now })
    await db.insertInto('denied_sessions').values({ realm: 'platform', session_id: 'late', expires_at: 1 }).execute()
    queue.start()
    await until(async () => (await count(metadata, 'denied_sessions')) === 1)
    await until(
      async () =>
        (await db.selectFrom('jobs').select('due_at').where('kind', '=', 'sweep').where('state', '=', 'queued').execute())[0]?.due_at ===
        now + 3_600_000,
    )
  })

  test('is opened again as it was left', async () => {
    const { metadata, options } = await open()
    await metadata.transaction((trx) => setFact(trx, 'kept', name))
    const config =
      options.type === 'sqlite'
        ? { database: { type: options.type, connection_string: options.file }, data: { dir: '/nowhere' } }
        : { database: { type: options.type, connection_string: options.connection_string ?? '' }, data: { dir: '/nowhere' } }
    const opened = await openMetadata(config)
    assert.equal(await getFact(opened.kysely, 'kept'), name)
    await opened.close()
    await assert.rejects(openMetadata(config, { migrations: MIGRATIONS.slice(0, 3) }), (error) => isSovraError(error, 'metadata_newer'))
  })
})

test('secret leaves are sealed with their place, opened, and never shown', () => {
  const Secret = () => Type.String({ secret: true })
  const schema = Type.Object({
    smtp: Type.Object({ host: Type.String(), pass: Secret() }),
    hooks: Type.Array(Type.Object({ key: Secret() })),
    more: Type.Record(Type.String(), Secret()),
  })
  const value = { smtp: { host: 'h', pass: 'p1' }, hooks: [{ key: 'k1' }], more: { a: 'm1' } }
  const sealed = sealSecrets(schema, value, vault, 's/x')
  const text = JSON.stringify(sealed)
  for (const secret of ['p1', 'k1', 'm1']) assert.ok(!text.includes(`"${secret}"`))
  assert.deepEqual(openSecrets(schema, sealed, vault, 's/x'), value)
  assert.throws(
    () => openSecrets(schema, sealed, vault, 's/y'),
    (error) => isSovraError(error, 'secret_damaged'),
  )
  assert.deepEqual(hideSecrets(schema, value), { smtp: { host: 'h', pass: '[set]' }, hooks: [{ key: '[set]' }], more: { a: '[set]' } })
  assert.deepEqual(shownSettings('rest', { max_rows: 5 }), { max_rows: 5 })
})

test('where the metadata is', async () => {
  const at = (type: 'sqlite' | 'postgresql' | 'mysql', connection_string?: string) =>
    metadataOptions({ database: { type, connection_string }, data: { dir: '/data' } })
  assert.deepEqual(at('sqlite'), { type: 'sqlite', file: '/data/metadata.sqlite' })
  assert.deepEqual(at('sqlite', 'own/x.db'), { type: 'sqlite', file: '/data/own/x.db' })
  assert.deepEqual(at('sqlite', 'file:x.db'), { type: 'sqlite', file: '/data/x.db' })
  assert.deepEqual(at('sqlite', 'sqlite:///var/x.db'), { type: 'sqlite', file: '/var/x.db' })
  assert.throws(
    () => at('mysql'),
    (error) => isSovraError(error, 'metadata_malformed'),
  )
  await assert.rejects(
    openMetadata({ database: { type: 'postgresql', connection_string: 'mysql://x' }, data: { dir: '/data' } }),
    (error) => isSovraError(error, 'metadata_malformed'),
  )
})

test('a start waits for a database server that starts too, but not for ever', async () => {
  const engine = await startPostgres()
  const config = { database: { type: 'postgresql' as const, connection_string: engine.url('postgres') }, data: { dir: '/nowhere' } }
  await engine.kill()
  await assert.rejects(openMetadata(config, { patience: 0 }), (error) => isSovraError(error, 'metadata_unavailable'))
  const opening = openMetadata(config, { patience: 60_000 })
  await engine.start()
  await (await opening).close()
  await engine.kill()
})

test('a new data directory is made for its owner only', async () => {
  const base = mkdtempSync(join(tmpdir(), 'sovra-open-'))
  after(() => rmSync(base, { recursive: true, force: true }))
  mkdirSync(join(base, 'there'))
  const metadata = await openMetadata({ database: { type: 'sqlite' }, data: { dir: join(base, 'new/data') } })
  await metadata.close()
  assert.equal(statSync(join(base, 'new/data')).mode & 0o777, 0o700)
  assert.equal(statSync(join(base, 'new/data/metadata.sqlite')).mode & 0o777, 0o600)
})
