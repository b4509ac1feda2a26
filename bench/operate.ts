/** Backup and restore beside tar, zstd and pg_basebackup on the same files. `--projects 100 --size 1000 (MB) --pg-basebackup PATH (of PostgreSQL 18) --restarted 20 --upgraded 60 --archived 50 --days 30 --only restart|upgrade|points|growth|sleeping` */
import { execFileSync } from 'node:child_process'
import { createWriteStream, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { newIdentity } from '@sovrabase/server/base/archive/seal'
import { openBackup, readProject, uploadOf } from '@sovrabase/server/restore'
import pg from 'pg'
import { Bare, copy, programOf, volumesOf } from './lib/cluster.ts'
import { bar, closing, ms, quantile } from './lib/figures.ts'
import { growth } from './lib/growth.ts'
import { points } from './lib/points.ts'
import { postmastersOf } from './lib/proc.ts'
import { restarts } from './lib/restart.ts'
import { type BenchProject, type BenchServer, must, startBench, withCleanup } from './lib/server.ts'
import { upgrades } from './lib/upgrade.ts'

const { values: flags } = parseArgs({
  options: {
    projects: { type: 'string', default: '100' },
    size: { type: 'string', default: '1000' },
    'pg-basebackup': { type: 'string' },
    restarted: { type: 'string', default: '20' },
    upgraded: { type: 'string', default: '60' },
    archived: { type: 'string', default: '50' },
    days: { type: 'string', default: '30' },
    only: { type: 'string' },
  },
})
const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-operate-'))
const { identity, recipient } = await newIdentity()
const shell = (script: string, ...args: string[]) => execFileSync('bash', ['-c', `set -eo pipefail; ${script}`, 'bash', ...args])

async function timed(work: () => unknown): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

async function backup(server: BenchServer, path: string, file: string): Promise<void> {
  const response = await fetch(`${server.url}/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ recipients: [recipient] }),
  })
  if (!response.ok || !response.body) throw new Error(await response.text())
  await pipeline(Readable.fromWeb(response.body as never), createWriteStream(file))
}

async function sleeping(server: BenchServer): Promise<void> {
  const count = Number(flags.projects)
  for (let n = 0; n < count; n++) {
    const { ref } = await server.project(`empty-${n}`)
    await must(server.api('POST', `/projects/${ref}/sleep?force=true`), 200)
  }
  const file = join(folder, 'all.tar')
  const theirs = () =>
    shell(
      'out="$1"; shift; for d in "$@"; do tar -C "$d" -cf - . | zstd -q -3 -f -o "$out"; done',
      join(folder, 'beside.zst'),
      ...volumesOf(server.dataDir),
    )
  // The first of each warms the files.
  await backup(server, '/backups', file)
  theirs()
  const ours = await timed(() => backup(server, '/backups', file))
  const beside = await timed(theirs)
  const { manifest } = await openBackup(file)
  const awake = manifest.projects.filter(({ services }) => services.some((service) => service.awake)).length
  console.log(`  ${count} asleep: ours ${ms(ours)}, tar | zstd ${ms(beside)}, ${(statSync(file).size / 2 ** 20).toFixed(0)} MiB`)
  bar(`backup of ${count} sleeping projects`, ours / beside, 1.5)
  bar('of these woken', awake, 0, 'projects')
}

async function fill(project: BenchProject, megabytes: number): Promise<void> {
  const owner = new pg.Client({ connectionString: project.dbUrl })
  await owner.connect()
  await owner.query('create table public.blobs (id int primary key, text text); create table public.todos (id int primary key, title text)')
  await owner.query(`insert into public.todos values (1, 'one'); grant select on public.todos to service_role`)
  // Text that compresses about as people's does.
  for (let n = 0; n < megabytes; n++)
    await owner.query(
      `insert into public.blobs select ${n} * 128 + i, (select string_agg(md5((${n} * 128 + i * 1000 + j)::text), '') from generate_series(1, 240) j) from generate_series(1, 128) i`,
    )
  await owner.query('checkpoint').catch(() => {})
  await owner.end()
}

/** Requests one after the other until `done`; their times. */
async function traffic(server: BenchServer, { ref, serviceKey }: BenchProject, done: () => boolean): Promise<number[]> {
  const times: number[] = []
  while (!done()) {
    times.push(
      await timed(async () => {
        const answer = await fetch(`${server.url}/p/${ref}/rest/v1/todos?id=eq.1`, { headers: { apikey: serviceKey } })
        if (answer.status !== 200) throw new Error(await answer.text())
        await answer.text()
      }),
    )
  }
  return times
}

async function awake(server: BenchServer, bare: Bare, project: BenchProject, volume: string): Promise<string> {
  const size = Number(flags.size)
  const file = join(folder, 'one.tar')
  const until = performance.now() + 5000
  const quiet = await traffic(server, project, () => performance.now() > until)
  let finished = false
  const loaded = traffic(server, project, () => finished)
  const ours = await timed(() => backup(server, `/projects/${project.ref}/backup`, file))
  finished = true
  const during = await loaded
  console.log(`  ${size} MB awake: ours ${ms(ours)}; its p99 alone ${ms(quantile(quiet, 0.99))}, meanwhile ${ms(quantile(during, 0.99))}`)
  bar('p99 of its traffic', quantile(during, 0.99) / quantile(quiet, 0.99), 2)
  const tool = flags['pg-basebackup']
  if (tool === undefined) return file
  await must(server.api('POST', `/projects/${project.ref}/sleep?force=true`), 200)
  const twin = join(folder, 'twin')
  copy(volume, twin)
  bare.give(folder)
  bare.trust(twin)
  writeFileSync(join(twin, 'pg_hba.conf'), 'local all all trust\nlocal replication all trust\n')
  await bare.firstQuery(twin, 'select 1')
  const alone = await timed(() => backup(server, `/projects/${project.ref}/backup`, file))
  const script = '"$1" -h "$2" -U sovrabase_admin -D - -Ft -X fetch -c fast --no-manifest | zstd -q -3 -f -o "$3"'
  const beside = await timed(() => shell(script, tool, bare.sockets, join(folder, 'beside.zst')))
  await bare.stop()
  console.log(`  pg_basebackup | zstd ${ms(beside)}; ours without traffic and asleep ${ms(alone)}`)
  bar('base backup beside pg_basebackup', ours / beside, 1 / 0.6)
  return file
}

async function restore(server: BenchServer, bare: Bare, project: BenchProject, file: string): Promise<void> {
  const archive = await openBackup(file)
  const record = await readProject(archive, await archive.unlock({ identities: [identity] }), project.ref)
  let back: { ref: string; url: string } | undefined
  const ours = await timed(async () => {
    const response = await fetch(`${server.url}/v1/restores?name=restored`, {
      method: 'POST',
      duplex: 'half',
      headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/x-tar' },
      body: uploadOf(archive, record).stream as never,
    } as RequestInit)
    if (response.status !== 201) throw new Error(await response.text())
    back = (await response.json()) as { ref: string; url: string }
    await must(server.api('POST', `/projects/${back.ref}/wake`), 200)
  })
  const dir = join(folder, 'unpacked')
  const beside = await timed(async () => {
    shell(
      'mkdir "$1"; tar -xOf "$2" "$3" | zstd -qdc | tar -C "$1" -xf -; chmod 700 "$1"; sync -f "$1"',
      ...[dir, file, `projects/${project.ref}/db.tar.zst`],
    )
    bare.give(folder)
    bare.trust(dir)
    await bare.firstQuery(dir, 'select 1')
  })
  await bare.stop()
  console.log(`  restore to the first query: ours ${ms(ours)}, unpacked and started bare ${ms(beside)}`)
  bar('restore of one project', ours / beside, 1.3)
  await must(server.api('POST', `/projects/${back?.ref}/sleep?force=true`), 200)
}

await withCleanup(async (later) => {
  later(() => rmSync(folder, { recursive: true, force: true }))
  const parts = {
    restart: () => restarts(Number(flags.restarted)),
    upgrade: () => upgrades(Number(flags.upgraded)),
    points: () => points(Number(flags.archived)),
    growth: () => growth(Number(flags.days)),
  }
  for (const [name, part] of Object.entries(parts)) if ((flags.only ?? name) === name) await part()
  if (flags.only !== undefined && flags.only !== 'sleeping') return closing()
  const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', SOVRABASE_LIMITS_PROJECT_DISK: 'off' })
  later(() => server.stop())
  if (flags.only === 'sleeping') {
    await sleeping(server)
    return closing()
  }
  const project = await server.project('large')
  const [volume = ''] = volumesOf(server.dataDir)
  const [postmaster = 0] = postmastersOf(server.child.pid!)
  const bare = new Bare(programOf(postmaster), statSync(volume).uid)
  later(() => bare.remove())
  await fill(project, Number(flags.size))
  const file = await awake(server, bare, project, volume)
  await restore(server, bare, project, file)
  await must(server.api('POST', `/projects/${project.ref}/sleep?force=true`), 200)
  await must(server.api('DELETE', `/projects/${project.ref}`), 202)
  await sleeping(server)
  closing()
})
