/** Many sleeping projects, backed up. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { openBackup } from '@sovrabase/server/restore'
import { volumesOf } from './cluster.ts'
import { type Copies, inTurns, shell, ZSTD } from './copies.ts'
import { bar, ms } from './figures.ts'
import { must } from './server.ts'

export async function sleeping({ server, folder, backup }: Copies, count: number, rounds: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const { ref } = await server.project(`empty-${n}`)
    await must(server.api('POST', `/projects/${ref}/sleep?force=true`), 200)
  }
  const beside = join(folder, 'beside.zst')
  const volumes = volumesOf(server.dataDir)
  const script = `out="$1"; shift; for d in "$@"; do tar -C "$d" -cf - . | ${ZSTD} -o "$out"; done`
  let file = ''
  const times = await inTurns(
    rounds,
    async () => {
      file = await backup('/backups', 'all.tar')
    },
    () => shell(script, beside, ...volumes),
  )
  const { manifest } = await openBackup(file)
  const awake = manifest.projects.filter(({ services }) => services.some((service) => service.awake)).length
  const size = (statSync(file).size / 2 ** 20).toFixed(0)
  console.log(`  ${count} asleep: ours ${ms(times.ours)}, tar | zstd ${ms(times.theirs)}, ${size} MiB`)
  bar(`backup of ${count} sleeping projects`, times.ours / times.theirs, 1.5)
  bar('of these woken', awake, 0, 'projects')
}
