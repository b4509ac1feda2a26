/** Backup and restore beside tar, zstd and pg_basebackup on the same files. `--projects 100 --size 1000 (MB) --rounds 3 --restarted 20 --upgraded 60 --archived 50 --days 30 --only restart|upgrade|points|growth|sleeping|awake` */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { basing } from './lib/basing.ts'
import { Bare, programOf, volumesOf } from './lib/cluster.ts'
import { makeCopies } from './lib/copies.ts'
import { closing } from './lib/figures.ts'
import { growth } from './lib/growth.ts'
import { points } from './lib/points.ts'
import { postmastersOf } from './lib/proc.ts'
import { restarts } from './lib/restart.ts'
import { restoring } from './lib/restoring.ts'
import { must, startBench, withCleanup } from './lib/server.ts'
import { sleeping } from './lib/sleeping.ts'
import { upgrades } from './lib/upgrade.ts'

const { values: flags } = parseArgs({
  options: {
    projects: { type: 'string', default: '100' },
    size: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '3' },
    restarted: { type: 'string', default: '20' },
    upgraded: { type: 'string', default: '60' },
    archived: { type: 'string', default: '50' },
    days: { type: 'string', default: '30' },
    only: { type: 'string' },
  },
})
const rounds = Number(flags.rounds)
const wanted = (name: string) => (flags.only ?? name) === name

await withCleanup(async (later) => {
  const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-operate-'))
  later(() => rmSync(folder, { recursive: true, force: true }))
  const parts = {
    restart: () => restarts(Number(flags.restarted)),
    upgrade: () => upgrades(Number(flags.upgraded)),
    points: () => points(Number(flags.archived)),
    growth: () => growth(Number(flags.days)),
  }
  for (const [name, part] of Object.entries(parts)) if (wanted(name)) await part()
  if (!wanted('sleeping') && !wanted('awake')) return closing()
  const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off', SOVRABASE_LIMITS_PROJECT_DISK: 'off' })
  later(() => server.stop())
  const copies = await makeCopies(server, folder)
  if (wanted('awake')) {
    const project = await server.project('large')
    const [volume = ''] = volumesOf(server.dataDir)
    const [postmaster = 0] = postmastersOf(server.child.pid!)
    const bare = new Bare(programOf(postmaster), statSync(volume).uid)
    later(() => bare.remove())
    const beside = { server, bare, project, volume, copies, rounds }
    await restoring(beside, await basing(beside, Number(flags.size)))
    await must(server.api('POST', `/projects/${project.ref}/sleep?force=true`), 200)
    await must(server.api('DELETE', `/projects/${project.ref}`), 202)
    await must(server.api('POST', `/projects/${project.ref}/purge`), 202)
  }
  if (wanted('sleeping')) await sleeping(copies, Number(flags.projects), rounds)
  closing()
})
