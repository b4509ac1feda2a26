import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { mariadbMissing } from './engines.ts'
import { until } from './until.ts'

const STARTS = `
  const { startPostgres, startMariadb, mariadbMissing } = await import(${JSON.stringify(new URL('./engines.ts', import.meta.url).href)})
  const urls = await Promise.all([startPostgres(), ...(mariadbMissing() ? [] : [startMariadb()])]).then((all) => all.map((engine) => engine.url('x')))
  process.stdout.write(JSON.stringify(urls))
  setInterval(() => {}, 1000)
`

/** Main process of the engine whose directory that is. */
function pidIn(dir: string): number {
  const files = [join(dir, 'data/postmaster.pid'), join(dir, 'pid')]
  return Number(readFileSync(files.find((file) => existsSync(file)) as string, 'utf8').split('\n')[0])
}

test('engines end with a test process that is killed by SIGKILL', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', STARTS], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [text] = (await once(child.stdout, 'data')) as [Buffer]
  const dirs = (JSON.parse(String(text)) as string[]).map((url) => {
    const { searchParams } = new URL(url)
    return searchParams.get('host') ?? dirname(searchParams.get('socketPath') ?? '')
  })
  assert.equal(dirs.length, mariadbMissing() ? 1 : 2)
  const pids = await Promise.all(dirs.map((dir) => until(() => pidIn(dir))))
  child.kill('SIGKILL')
  await once(child, 'exit')
  await until(() => pids.every((pid) => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))))
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true, maxRetries: 20 })
})
