/** Points in time on real clusters: what was written goes into an archive, and a project is brought to any moment of it. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import type { ProjectArchive } from '../../packages/contract/src/backup.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, ORGANISATION, openProject, type ProjectBody, rest, type TestProject } from '../project.ts'
import { until } from '../until.ts'

const PATIENCE = 120_000
/** Bytes at the end of each small object. */
const SIGNATURE = 40

describe('points in time', () => {
  let server: TestServer
  let cli: Cli
  let shop: TestProject
  const home = mkdtempSync(join(tmpdir(), 'sovra-pitr-'))
  chmodSync(home, 0o777)
  const env = { SOVRABASE_DEMO: 'off', SOVRABASE_BACKUP_ARCHIVE: home }

  const archive = async (ref: string) => (await server.api<ProjectArchive>('GET', `/projects/${ref}/archive`)).body
  const put = async (project: TestProject, id: number) => {
    await project.sql('insert into public.notes values ($1)', [id])
  }
  /** A moment after all that is committed, and before all that comes. */
  const moment = async (project: TestProject) => {
    const [row] = await project.sql('select pg_sleep(0.002), clock_timestamp() as at')
    return (row!.at as Date).toISOString()
  }
  const ids = async (project: TestProject) => (await project.sql('select id from public.notes order by id')).map((row) => Number(row.id))
  const branch = async (name: string, from: object) => {
    const made = await server.api<ProjectBody>(
      'POST',
      `/organisations/${ORGANISATION}/projects`,
      { name, from: { data: true, settings: true, ...from } },
      { headers: { prefer: 'wait=60' } },
    )
    assert.ok([201, 202].includes(made.status), JSON.stringify(made.body))
    await until(async () => {
      const { body } = await server.api<ProjectBody>('GET', `/projects/${made.body.ref}`)
      const [db] = body.services
      assert.notEqual(db?.status, 'failed', server.output())
      return db?.status === 'awake' || db?.status === 'asleep'
    }, PATIENCE)
    return openProject(server, made.body.ref)
  }

  before(async () => {
    server = await startServer({ env })
    cli = makeCli(() => server.dataDir)
    shop = await createProject(server, 'shop')
    await shop.sql('create table public.notes (id bigint primary key)')
  })

  after(async () => {
    await server?.stop()
    cli?.remove()
    rmSync(home, { recursive: true, force: true })
  })

  test('switched on, it is there from the first base on', async () => {
    assert.equal((await archive(shop.ref)).point_in_time, false)
    const on = await server.api('PATCH', `/projects/${shop.ref}/settings/backup`, { point_in_time: true, within: 1 })
    assert.equal(on.status, 200, JSON.stringify(on.body))
    await until(async () => (await archive(shop.ref)).ranges.length === 1, PATIENCE)
    const { following, failed_at } = await archive(shop.ref)
    assert.deepEqual([following, failed_at], [true, null])
  })

  test('a moment between two commits, by the command', async () => {
    await put(shop, 1)
    const at = await moment(shop)
    await put(shop, 2)
    const made = await cli.answer<ProjectBody>(['restore', '--project', 'shop', '--to-time', at, '--as', 'then'])
    const then = await openProject(server, made.ref)
    assert.deepEqual(await ids(then), [1])
    assert.deepEqual(await ids(shop), [1, 2])
    assert.notEqual(then.anon, shop.anon)
    await put(then, 99)
    // It archives nothing of its own, and nothing is kept for an archive.
    assert.equal((await archive(then.ref)).point_in_time, false)
  })

  test('asleep nothing is lost, and nothing is woken', async () => {
    await put(shop, 3)
    await server.api('POST', `/projects/${shop.ref}/sleep?force=true`)
    await until(async () => !(await archive(shop.ref)).following, PATIENCE)
    assert.equal((await archive(shop.ref)).unstored_since, null)
    const last = await branch('last', { project: shop.ref, at: new Date().toISOString() })
    assert.deepEqual(await ids(last), [1, 2, 3])
    assert.equal((await server.api<ProjectBody>('GET', `/projects/${shop.ref}`)).body.services[0]?.status, 'asleep')
  })

  test('bases of what changed since are put together with the whole one', async () => {
    await shop.sql('insert into public.notes select n from generate_series(1000, 3000) n')
    const base = () => server.api('POST', `/projects/${shop.ref}/archive/base`)
    assert.equal((await base()).status, 204)
    await shop.sql('delete from public.notes where id between 1000 and 2999')
    assert.equal((await base()).status, 204)
    const folder = join(home, shop.ref)
    const records = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.json'))
      .map(
        (name) =>
          JSON.parse(readFileSync(join(folder, name)).subarray(0, -SIGNATURE).toString()) as {
            id: string
            parent: string | null
            size: number
          },
      )
      .sort((x, y) => (x.id < y.id ? -1 : 1))
    assert.deepEqual(
      records.map(({ parent }) => parent),
      [null, records[0]?.id, records[1]?.id],
    )
    assert.ok((records[1]?.size ?? 0) < (records[0]?.size ?? 0))
    const chained = await branch('chained', { project: shop.ref, at: await moment(shop) })
    assert.deepEqual(await ids(chained), [1, 2, 3, 3000])
  })

  test('as it is now, while it runs and others serve', async () => {
    const others = await Promise.all(['one', 'two'].map((name) => createProject(server, name)))
    let [going, answered] = [true, 0]
    const traffic = others.map(async (other) => {
      await other.sql('create table public.notes (id bigint primary key); grant select on public.notes to anon')
      while (going) {
        const answer = await rest(other, other.anon, 'GET', '/notes')
        assert.equal(answer.status, 200)
        answered++
      }
    })
    const [now, then] = await Promise.all([
      branch('now', { project: shop.ref }),
      branch('then-again', { project: shop.ref, at: await moment(shop) }),
    ])
    for (const made of [now, then]) assert.deepEqual(await ids(made), [1, 2, 3, 3000])
    going = false
    await Promise.all(traffic)
    assert.ok(answered > 10)
  })

  test('refused before anything is touched: times that it does not reach, damage, what belongs to others', async () => {
    const order = (name: string, at: string) =>
      server.api<{ code: string }>('POST', `/organisations/${ORGANISATION}/projects`, { name, from: { project: shop.ref, at } })
    const early = await order('early', '2020-01-01T00:00:00.000Z')
    assert.deepEqual([early.status, early.body.code], [409, 'archive_time_outside'])
    const late = await order('late', new Date(Date.now() + 3_600_000).toISOString())
    assert.deepEqual([late.status, late.body.code], [409, 'archive_time_outside'])
    const other = await createProject(server, 'without')
    const off = await server.api<{ code: string }>('POST', `/organisations/${ORGANISATION}/projects`, {
      name: 'never',
      from: { project: other.ref, at: new Date().toISOString() },
    })
    assert.deepEqual([off.status, off.body.code], [409, 'archive_off'])
    const lineage = join(home, shop.ref, readdirSync(join(home, shop.ref))[0] ?? '')
    cpSync(lineage, join(home, other.ref, 'stranger'), { recursive: true })
    // The server is somebody else where it runs under a keeper.
    execFileSync('chmod', ['-R', 'a+rX', join(home, other.ref)])
    const foreign = await server.api<{ code: string }>('POST', `/organisations/${ORGANISATION}/projects`, {
      name: 'foreign',
      from: { project: other.ref, at: new Date().toISOString() },
    })
    assert.deepEqual([foreign.status, foreign.body.code], [409, 'archive_foreign'])
    const at = await moment(shop)
    const bases = readdirSync(join(lineage, 'base')).filter((name) => name.endsWith('.tar.zst'))
    const file = join(lineage, 'base', bases.sort().at(-1) ?? '')
    const before = readFileSync(file)
    for (const [name, wrong] of [
      ['cut', before.subarray(0, before.length >> 1)],
      ['changed', Buffer.concat([before.subarray(0, 5000), Buffer.from('x'), before.subarray(5001)])],
    ] as const) {
      writeFileSync(file, wrong)
      const made = await order(name, at)
      const ref = (made.body as unknown as ProjectBody).ref
      const detail = await until(async () => {
        const [db] = (await server.api<{ services: { status: string; detail: { code?: string } }[] }>('GET', `/projects/${ref}`)).body
          .services
        return db?.status === 'failed' ? db.detail : undefined
      }, PATIENCE)
      assert.equal(detail.code, 'archive_damaged', name)
      await server.api('DELETE', `/projects/${ref}`)
      await server.api('POST', `/projects/${ref}/purge`)
    }
    writeFileSync(file, before)
    assert.deepEqual(await ids(shop), [1, 2, 3, 3000])
    assert.deepEqual(
      readdirSync(join(server.dataDir, 'projects')).filter((name) => name.startsWith('restore-')),
      [],
    )
  })

  test('killed while it writes and while one is restored: what was committed is in the archive, the other is made again', async () => {
    await put(shop, 4)
    const at = await moment(shop)
    await put(shop, 5)
    const made = await server.api<ProjectBody>('POST', `/organisations/${ORGANISATION}/projects`, {
      name: 'again',
      from: { project: shop.ref, data: true, at },
    })
    const scratch = () => readdirSync(join(server.dataDir, 'projects')).some((name) => /^(\.new-)?restore-/.test(name))
    await until(scratch, PATIENCE, 1)
    const { dataDir } = server
    await server.kill('SIGKILL')
    server = await startServer({ dataDir, env })
    const again = await openProject(server, made.body.ref)
    assert.deepEqual(await until(() => ids(again), PATIENCE), [1, 2, 3, 4, 3000])
    shop = await openProject(server, shop.ref)
    // Nobody has asked for it since: it was woken for what its log still held.
    await until(async () => {
      const { following, unstored_since } = await archive(shop.ref)
      return following && unstored_since === null
    }, PATIENCE)
    const after = await branch('after', { project: shop.ref, at: new Date().toISOString() })
    assert.deepEqual(await ids(after), [1, 2, 3, 4, 5, 3000])
    assert.equal(scratch(), false)
  })

  test('a data directory out of a backup goes on in an archive of its own, and the former one stays', async () => {
    const before = await moment(shop)
    const { dataDir } = server
    await server.kill('SIGTERM')
    // What no backup holds, and a restored directory gets anew.
    rmSync(join(dataDir, 'archive.id'))
    server = await startServer({ dataDir, env })
    shop = await openProject(server, shop.ref)
    await put(shop, 6)
    await until(async () => (await archive(shop.ref)).ranges.length === 2, PATIENCE)
    await put(shop, 7)
    const newer = await branch('newer', { project: shop.ref, at: await moment(shop) })
    assert.deepEqual(await ids(newer), [1, 2, 3, 4, 5, 6, 7, 3000])
    const older = await branch('older', { project: shop.ref, at: before })
    assert.deepEqual(await ids(older), [1, 2, 3, 4, 5, 3000])
  })

  test('switched off, nothing is kept for it', async () => {
    assert.equal((await cli.run(['backup', 'archive', 'shop', '--off'])).code, 0)
    await until(async () => {
      const [row] = await shop.sql('select count(*)::int as n from pg_replication_slots')
      return row?.n === 0
    }, PATIENCE)
    const shown = await cli.run(['backup', 'archive', 'shop'])
    assert.match(shown.out, /Points in time\s+off/)
    assert.match(shown.out, /to now/)
    assert.doesNotMatch(shown.out, /Not in the archive/)
  })
})
