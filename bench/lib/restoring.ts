/** One project out of a backup to its first query, beside unpacking the same file and starting PostgreSQL on it. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { openBackup, readProject, uploadOf } from '@sovrabase/server/restore'
import type { Beside } from './basing.ts'
import { inTurns, shell } from './copies.ts'
import { bar, ms } from './figures.ts'
import { must } from './server.ts'

const UNPACK = 'rm -rf "$1"; mkdir "$1"; tar -xOf "$2" "$3" | zstd -qdc | tar -C "$1" -xf -; chmod 700 "$1"; sync -f "$1"'

export async function restoring({ server, bare, project, copies: { folder, identity }, rounds }: Beside, file: string): Promise<void> {
  const archive = await openBackup(file)
  const record = await readProject(archive, await archive.unlock({ identities: [identity] }), project.ref)
  const made: string[] = []
  const ours = async () => {
    const response = await fetch(`${server.url}/v1/restores?name=restored-${made.length}`, {
      method: 'POST',
      duplex: 'half',
      headers: { authorization: `Bearer ${server.localToken}`, 'content-type': 'application/x-tar' },
      body: uploadOf(archive, record).stream as never,
    } as RequestInit)
    if (response.status !== 201) throw new Error(await response.text())
    const { ref } = (await response.json()) as { ref: string }
    made.push(ref)
    await must(server.api('POST', `/projects/${ref}/wake`), 200)
  }
  const dir = join(folder, 'unpacked')
  const theirs = async () => {
    // What the one before left is not its time.
    await bare.stop()
    await shell(UNPACK, dir, file, `projects/${project.ref}/db.tar.zst`)
    bare.give(dir)
    bare.trust(dir)
    await bare.firstQuery(dir, 'select 1')
  }
  const times = await inTurns(rounds, ours, theirs)
  await bare.stop()
  rmSync(dir, { recursive: true, force: true })
  console.log(`  restore to the first query: ours ${ms(times.ours)}, unpacked and started bare ${ms(times.theirs)}`)
  bar('restore of one project', times.ours / times.theirs, 1.3)
  for (const ref of made) {
    await must(server.api('POST', `/projects/${ref}/sleep?force=true`), 200)
    await must(server.api('DELETE', `/projects/${ref}`), 202)
    await must(server.api('POST', `/projects/${ref}/purge`), 202)
  }
}
