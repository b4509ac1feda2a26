/** Backup and restore on real processes: the data directory is destroyed, and what applications hold goes on working. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import { newIdentity } from '../../packages/server/src/base/archive/seal.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, openProject, type ProjectBody, rest, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const PASSPHRASE = 'correct horse battery staple'
const env = { SOVRABASE_BACKUP_PASSPHRASE: PASSPHRASE }
const ROWS = 3000
const SQL = `create table public.notes (id bigint primary key, title text not null);
  insert into public.notes select n, md5(n::text) from generate_series(1, ${ROWS}) n;
  grant select, insert on public.notes to anon;`

interface Made {
  readonly file: string
  readonly projects: { ref: string; services: { awake: boolean; bytes: number }[] }[]
}

describe('backup and restore', () => {
  let server: TestServer
  let cli: Cli
  let awake: TestProject
  let asleep: TestProject
  let made: Made
  const home = mkdtempSync(join(tmpdir(), 'sovra-backup-'))
  let dataDir = ''

  const statusOf = async (ref: string) => (await server.api<ProjectBody>('GET', `/projects/${ref}`)).body.services[0]?.status
  // Public keys, where the passphrase is not the subject: stretching that takes a second of each command.
  const keys = join(home, 'identity.txt')
  const opened = ['--identity-file', keys]
  let recipient = ''
  const stopped = (args: readonly string[], more: Record<string, string> = {}) => cli.run(args, { env: more })
  const failure = async (args: readonly string[], more?: Record<string, string>) => {
    const ran = await stopped([...args, '--json'], more)
    assert.equal(ran.code, 1, ran.out)
    return (JSON.parse(ran.err) as { code: string }).code
  }
  const count = async (project: Pick<TestProject, 'url' | 'anon'>) => {
    const answer = await rest(project, project.anon, 'GET', '/notes?select=id&limit=1', { headers: { prefer: 'count=exact' } })
    return answer.headers.get('content-range')
  }

  before(async () => {
    const pair = await newIdentity()
    recipient = pair.recipient
    writeFileSync(keys, `# made for a test\n${pair.identity}\n`)
    server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
    dataDir = server.dataDir
    cli = makeCli(() => dataDir)
    awake = await createProject(server, 'awake', { labels: { stage: 'live' } })
    asleep = await createProject(server, 'asleep')
    for (const project of [awake, asleep]) await project.sql(SQL)
    await server.api('POST', `/projects/${asleep.ref}/sleep?force=true`)
    assert.equal(await statusOf(asleep.ref), 'asleep')
  })

  after(async () => {
    await server?.stop()
    cli?.remove()
    for (const dir of [dataDir, home]) rmSync(dir, { recursive: true, force: true })
  })

  test('all of it into one file, while rows are written and nothing is woken', async () => {
    let writes = 0
    let going = true
    const writing = (async () => {
      while (going) {
        const id = 1_000_000 + writes
        const { status } = await rest(awake, awake.anon, 'POST', '/notes', { body: { id, title: 'written meanwhile' } })
        assert.equal(status, 201)
        writes++
      }
    })()
    made = await cli.answer<Made>(['backup', 'create', '--all', '--to', home, '--recipient', recipient])
    going = false
    await writing
    assert.ok(writes > 0)
    assert.equal(statSync(made.file).mode & 0o777, 0o600)
    const of = (ref: string) => made.projects.find((project) => project.ref === ref)?.services[0]
    assert.equal(of(awake.ref)?.awake, true)
    assert.equal(of(asleep.ref)?.awake, false)
    assert.ok((of(asleep.ref)?.bytes ?? 0) > 1_000_000)
    assert.equal(await statusOf(asleep.ref), 'asleep')
    // The last byte is there before the server has tidied up.
    await until(() => !existsSync(join(dataDir, 'spool')) || readdirSync(join(dataDir, 'spool')).length === 0)
    const text = readFileSync(made.file, 'latin1')
    const key = readFileSync(join(dataDir, 'keys/root.key'), 'utf8').trim()
    for (const secret of [key, awake.secrets.jwt_secret, awake.service]) assert.ok(!text.includes(secret))
    const checked = await stopped(['backup', 'verify', made.file, ...opened])
    assert.equal(checked.code, 0, checked.err)
    assert.match(checked.out, /acme\/asleep/)
  })

  test('started from the backup, its rows are counted, and nothing of it stays', async (t) => {
    const scratch = mkdtempSync(join(tmpdir(), 'sovra-scratch-'))
    // Whoever the clusters run as passes through it.
    chmodSync(scratch, 0o755)
    t.after(() => rmSync(scratch, { recursive: true, force: true }))
    const ran = await cli.answer<{ started: { project: string; tables: number; rows: number }[] }>(
      ['backup', 'verify', made.file, '--start', ...opened],
      { env: { TMPDIR: scratch } },
    )
    const of = (name: string) => ran.started.find(({ project }) => project === `acme/${name}`)
    assert.ok((of('asleep')?.rows ?? 0) >= ROWS)
    assert.ok((of('awake')?.rows ?? 0) > ROWS)
    assert.deepEqual(readdirSync(scratch), [])
  })

  test('damaged, truncated and foreign ones are refused before anything is touched', async () => {
    const target = join(home, 'never')
    const size = statSync(made.file).size
    const cases: [name: string, change: (file: string) => void, code: string][] = [
      ['truncated', (file) => truncateSync(file, size - 5000), 'backup_truncated'],
      ['cut in half', (file) => truncateSync(file, Math.floor(size / 2)), 'backup_truncated'],
      ['foreign', (file) => writeFileSync(file, Buffer.alloc(20_000, 'x')), 'backup_foreign'],
      [
        'one byte changed',
        (file) => {
          const bytes = readFileSync(file)
          const at = Math.floor(size * 0.6)
          bytes[at] = bytes[at]! ^ 1
          writeFileSync(file, bytes)
        },
        'backup_damaged',
      ],
    ]
    for (const [name, change, code] of cases) {
      const file = join(home, 'changed.tar')
      copyFileSync(made.file, file)
      change(file)
      for (const args of [
        ['backup', 'verify', file, ...opened],
        ['restore', file, '--data-dir', target, ...opened],
      ])
        assert.equal(await failure(args), code, name)
      assert.ok(!existsSync(target), name)
    }
    assert.equal(await failure(['restore', made.file, '--data-dir', dataDir, ...opened]), 'restore_target_used')
  })

  test('one project beside the living: under another name, with keys of its own', async () => {
    const back = await cli.answer<ProjectBody>(['restore', made.file, '--project', 'acme/asleep', '--as', 'twin', ...opened])
    assert.notEqual(back.ref, asleep.ref)
    const twin = await openProject(server, back.ref)
    assert.equal(await count(twin), `0-0/${ROWS}`)
    assert.notEqual(twin.anon, asleep.anon)
    assert.equal((await rest(twin, asleep.anon, 'GET', '/notes')).status, 401)
    // The owner's password is its own too, and works.
    assert.equal((await twin.sql('select count(*)::int as n from public.notes'))[0]?.n, ROWS)
    assert.equal((await asleep.sql('select count(*)::int as n from public.notes'))[0]?.n, ROWS)
    assert.equal(await failure(['restore', made.file, '--project', 'acme/asleep', ...opened]), 'restore_project_exists')
  })

  test('by a passphrase: one project that was purged has its ref and keys again', async () => {
    const gone = await createProject(server, 'gone')
    await gone.sql(SQL)
    const file = join(home, 'gone.tar')
    await cli.answer(['backup', 'create', '--project', 'gone', '--to', file], { env })
    assert.ok(!readFileSync(file, 'latin1').includes(PASSPHRASE))
    assert.ok(!server.output().includes(PASSPHRASE))
    assert.equal(await failure(['backup', 'create', '--project', 'gone', '--to', file], env), 'backup_exists')
    const never = join(home, 'never')
    assert.equal(await failure(['restore', file, '--data-dir', never], { SOVRABASE_BACKUP_PASSPHRASE: 'another one' }), 'backup_locked')
    assert.ok(!existsSync(never))
    await server.api('DELETE', `/projects/${gone.ref}`)
    await server.api('POST', `/projects/${gone.ref}/purge`)
    await until(async () => (await server.api('GET', `/projects/${gone.ref}`)).status === 404)
    assert.equal((await rest(gone, gone.anon, 'GET', '/notes')).status, 404)
    const nowhere = join(home, 'nowhere/gone.tar')
    assert.equal(await failure(['backup', 'create', '--all', '--to', nowhere], env), 'backup_unwritable')
    const back = await cli.answer<ProjectBody>(['restore', file], { env })
    assert.equal(back.ref, gone.ref)
    assert.equal(await count(gone), `0-0/${ROWS}`)
    assert.equal((await gone.sql('select count(*)::int as n from public.notes'))[0]?.n, ROWS)
  })

  test('a project that is asked for by name and removed meanwhile: the backup is broken off, not empty', async () => {
    const heavy = await createProject(server, 'heavy')
    await heavy.sql('create table public.heavy as select n, sha512(n::text::bytea) as noise from generate_series(1, 400000) n')
    const between = await createProject(server, 'between')
    const last = await createProject(server, 'last')
    const refs = [heavy, between, last].map(({ ref }) => ref)
    const answer = await fetch(`${server.url}/v1/backups`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ recipients: [recipient], projects: refs }),
    })
    assert.equal(answer.status, 200)
    // Nothing of it is read yet: the third is begun once the first is sent.
    await server.api('DELETE', `/projects/${last.ref}`)
    await server.api('POST', `/projects/${last.ref}/purge`)
    await until(async () => (await server.api('GET', `/projects/${last.ref}`)).status === 404)
    await assert.rejects(answer.arrayBuffer())
    await until(() => readdirSync(join(dataDir, 'spool')).length === 0)
    for (const { ref } of [heavy, between]) await server.api('DELETE', `/projects/${ref}`)
  })

  test('the data directory is destroyed; restored elsewhere, the old keys read the rows', async () => {
    await server.kill('SIGKILL')
    await until(() => {
      rmSync(dataDir, { recursive: true, force: true })
      return !existsSync(dataDir)
    })
    const elsewhere = join(home, 'elsewhere')
    // Killed half-way: nothing is there, and the next one does not mind.
    const broken = cli.start(['restore', made.file, '--data-dir', elsewhere, ...opened])
    await until(() => readdirSync(home).some((name) => name.endsWith('.restoring')))
    broken.child.kill('SIGKILL')
    await broken.ended
    assert.ok(!existsSync(elsewhere))
    const left = () => readdirSync(home).filter((name) => name.endsWith('.restoring'))
    // Ctrl-C: not even that is there.
    const interrupted = cli.start(['restore', made.file, '--data-dir', join(home, 'never'), ...opened])
    await until(() => existsSync(join(home, '.never.restoring/keys')))
    interrupted.child.kill('SIGINT')
    await interrupted.ended
    assert.deepEqual([left(), existsSync(join(home, 'never'))], [['.elsewhere.restoring'], false])
    // Two at once: one does it, the other is told.
    const both = await Promise.all([1, 2].map(() => stopped(['restore', made.file, '--data-dir', elsewhere, ...opened, '--json'])))
    assert.deepEqual(both.map(({ code }) => code).sort(), [0, 1], JSON.stringify(both))
    const told = (JSON.parse(both.find(({ code }) => code === 1)?.err ?? '{}') as { code: string }).code
    assert.ok(['restore_under_way', 'restore_target_used'].includes(told), told)
    assert.deepEqual([left(), existsSync(join(elsewhere, 'lock'))], [[], false])
    dataDir = elsewhere
    server = await startServer({ dataDir: newDataDir(elsewhere), env: { SOVRABASE_DEMO: 'off' } })
    for (const project of [awake, asleep]) {
      const url = project.url.replace(/^http:\/\/[^/]+/, server.url)
      const client = createClient(url, project.anon, { auth: { persistSession: false } })
      const { data, count: rows, error } = await client.from('notes').select('id', { count: 'exact' }).lte('id', ROWS).limit(5)
      assert.equal(error, null)
      assert.equal(rows, ROWS)
      assert.equal(data?.length, 5)
      assert.equal((await openProject(server, project.ref)).service, project.service)
    }
    assert.equal((await openProject(server, awake.ref)).labels.stage, 'live')
  })

  test('another private key opens nothing; a backup is sealed with one of the two', async () => {
    const file = join(home, 'keyed.tar')
    await cli.answer(['backup', 'create', '--project', 'awake', '--to', file, '--recipient', recipient])
    assert.equal((await stopped(['backup', 'verify', file, ...opened])).code, 0)
    const wrong = join(home, 'other.txt')
    writeFileSync(wrong, (await newIdentity()).identity)
    assert.equal(await failure(['backup', 'verify', file, '--identity-file', wrong]), 'backup_locked')
    const without = await server.api<{ code: string }>('POST', '/backups', {})
    assert.deepEqual([without.status, without.body.code], [400, 'backup_unsealed'])
  })
})
