import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { mariadbMissing, type ServerName, SHARED, server } from '../test/engines.ts'

/** Everything that is a test; end-to-end ones last, since they load the machine. */
const ALL = ['packages/**/*.test.ts', 'test/*.test.ts', 'test/**/*.test.ts']
/** Files at once: they wait for engines half of the time. */
const FILES_PER_CORE = 1.5
/** ms of one test or suite: generous, since CI's machine is shared. */
const TEST_LIMIT = '400000'

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** One server of each kind for the whole run: starting them for each file would cost more than the tests. */
async function startEngines(): Promise<string> {
  const names: ServerName[] = mariadbMissing() ? ['postgresql'] : ['postgresql', 'mariadb']
  const urls = await Promise.all(names.map(async (name) => [name, (await server(name))('%')] as const))
  return JSON.stringify(Object.fromEntries(urls))
}

function select(args: readonly string[]): { options: string[]; files: string[] } {
  const options = args.filter((arg) => arg.startsWith('-'))
  const wanted = args.filter((arg) => !arg.startsWith('-'))
  const found = (wanted.length > 0 ? wanted : ALL).flatMap((glob) => globSync(glob, { exclude: (path) => path.includes('node_modules') }))
  return { options, files: [...new Set(found)] }
}

async function run(options: readonly string[], files: readonly string[], summary: string): Promise<number> {
  const report = resolve(import.meta.dirname, '../test/summary.ts')
  const cores = Math.max(2, Math.round(availableParallelism() * FILES_PER_CORE))
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout', `--test-reporter=${report}`]
  const args = [
    '--test',
    `--test-concurrency=${cores}`,
    `--test-timeout=${TEST_LIMIT}`,
    ...reporters,
    `--test-reporter-destination=${summary}`,
  ]
  const env = { ...process.env, [SHARED]: await startEngines() }
  const child = spawn(process.execPath, [...args, ...options, ...files], { stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((done) => child.on('exit', (code, signal) => done(signal ? 1 : (code ?? 1))))
}

const { options, files } = select(process.argv.slice(2))
const dir = await mkdtemp(join(tmpdir(), 'sovra-run-'))
const summary = join(dir, 'summary.json')
let code = 1
try {
  if (files.length > 0) code = await run(options, files, summary)
  const counts = JSON.parse(await readFile(summary, 'utf8').catch(() => '{"passed":0,"failed":0,"skipped":0}')) as Counts
  const { failed } = counts
  console.log(`${counts.passed} passed, ${failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`)
  if (failed > 0 || counts.passed === 0) code = code || 1
} finally {
  await rm(dir, { recursive: true, force: true })
}
// The engines are children of this process: they end with it.
process.exit(code)
