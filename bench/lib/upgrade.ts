/** Many sleeping projects brought forward by one command, by a version that has one system migration more. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { bar, ms } from './figures.ts'
import { must, ORGANISATION, startBench } from './server.ts'

const root = resolve(import.meta.dirname, '../..')
const SYSTEM = 'packages/server/src/runtime/engines/postgres/system'

/** The program with one file more in its system schema. */
function nextVersion(at: string): { readonly program: string; readonly version: number } {
  mkdirSync(at, { recursive: true })
  cpSync(join(root, 'packages'), join(at, 'packages'), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(at, 'node_modules'))
  const version = readdirSync(join(at, SYSTEM)).length + 1
  writeFileSync(join(at, SYSTEM, `${String(version).padStart(4, '0')}_of_the_bench.sql`), 'create table sovrabase.of_the_bench (id int);')
  return { program: join(at, 'packages/server/src/main.ts'), version }
}

export async function upgrades(count: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-upgrade-'))
  const dataDir = join(folder, 'data')
  const cli = makeCli(() => dataDir)
  let server = await startBench({}, { dataDir })
  try {
    await must(server.api('POST', '/organisations', { name: ORGANISATION }), 201)
    for (let n = 0; n < count; n++) {
      const { ref } = await server.project(`asleep-${n}`)
      await must(server.api('POST', `/projects/${ref}/sleep?force=true`), 200)
    }
    await server.kill()
    const next = nextVersion(join(folder, 'next'))
    server = await startBench({}, { dataDir, program: next.program })
    const begun = performance.now()
    const ran = await cli.run(['upgrade', '--all', '--parallel', '4', '--continue-on-error', '--json'])
    const took = performance.now() - begun
    const outcomes = JSON.parse(ran.out) as { result: { system_version: number } | null }[]
    const behind = outcomes.filter(({ result }) => result?.system_version !== next.version).length
    const { awake } = (await must<{ projects: { awake: number } }>(server.api('GET', '/status'), 200)).projects
    console.log(
      `  ${outcomes.length} asleep, brought forward by --parallel 4: ${ms(took)}, ${ms(took / outcomes.length)} each; exit code ${ran.code}`,
    )
    bar('of these not brought forward', behind + (count - outcomes.length), 0, 'projects')
    bar('awake afterwards', awake, 0, 'projects')
  } finally {
    await server.kill()
    cli.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
