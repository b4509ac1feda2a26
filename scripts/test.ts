import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { type EventData, run } from 'node:test'
import { spec } from 'node:test/reporters'
import { mariadbMissing, type ServerName, SHARED, server } from '../test/engines.ts'
import { SEED } from '../test/seed.ts'
import { makeSeed, makeWorkspace } from '../test/workspace.ts'

const ROOT = resolve(import.meta.dirname, '..')
const ALL = ['packages/**/*.test.ts', 'test/*.test.ts', 'test/**/*.test.ts']
/** Files at once: they wait for engines half of the time. */
const FILES_PER_CORE = 2
/** ms of one test or suite: generous, since CI's machine is shared. */
const TEST_LIMIT = 400_000
/** From so many files that start servers on, what each of these would make anew is made once. */
const WORTH_A_SEED = 3
/** ms that each file took when it ran last: a hint for the order, nothing depends on it. */
const TIMES = join(ROOT, '.cache/test-times.json')
/** ms of a file that was not measured, and for each server that it starts. */
const GUESS = { file: 1_000, server: 5_000 }

type Times = Record<string, number>

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
  return { options, files: [...new Set(found.map((file) => resolve(file)))] }
}

function measured(): Times {
  try {
    return JSON.parse(readFileSync(TIMES, 'utf8')) as Times
  } catch {
    return {}
  }
}

const keyOf = (file: string): string => relative(ROOT, file)
const serversIn = (file: string): number => readFileSync(file, 'utf8').match(/\b(startServer|runServer)\(/g)?.length ?? 0

/** The longest first: one that began last would run on alone. */
function ordered(files: readonly string[], times: Times): string[] {
  const weight = (file: string): number => times[keyOf(file)] ?? GUESS.file + GUESS.server * serversIn(file)
  const weights = new Map(files.map((file) => [file, weight(file)]))
  return files.toSorted((a, b) => (weights.get(b) ?? 0) - (weights.get(a) ?? 0))
}

/** What the files find in their environment. */
async function prepare(files: readonly string[], workspace: string): Promise<void> {
  const many = files.filter((file) => serversIn(file) > 0).length >= WORTH_A_SEED
  const [engines, seed] = await Promise.all([startEngines(), many ? makeSeed(workspace) : undefined])
  Object.assign(process.env, { [SHARED]: engines }, seed === undefined ? {} : { [SEED]: seed })
}

type Counts = EventData.TestSummary['counts']

/** Runs them, and notes how long each took; answers the counts of the whole run. */
async function runFiles(options: readonly string[], files: readonly string[], times: Times): Promise<Counts | undefined> {
  let counts: Counts | undefined
  const concurrency = Math.max(2, Math.round(availableParallelism() * FILES_PER_CORE))
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort())
  const events = run({ files: ordered(files, times), concurrency, timeout: TEST_LIMIT, execArgv: options, signal: stop.signal })
  // A file is itself a test of its name.
  events.on('test:complete', ({ name, details }) => {
    if (files.includes(name)) times[keyOf(name)] = Math.round(details.duration_ms)
  })
  // One such event a file, and a last one of the run, which names no file.
  events.on('test:summary', (data) => {
    if (data.file === undefined) counts = data.counts
  })
  for await (const text of events.compose(new spec())) process.stdout.write(text as string)
  return counts
}

function conclude(counts: Counts | undefined): number {
  const { tests = 0, passed = 0, skipped = 0, todo = 0 } = counts ?? {}
  const failed = tests - passed - skipped - todo
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return failed > 0 || passed === 0 ? 1 : 0
}

const { options, files } = select(process.argv.slice(2))
const workspace = makeWorkspace()
process.env.TMPDIR = workspace
// The engines are children of this process and end with it; what they leave is removed before.
process.on('exit', () => rmSync(workspace, { recursive: true, force: true, maxRetries: 20, retryDelay: 20 }))
await prepare(files, workspace)
const times = measured()
const code = conclude(await runFiles(options, files, times))
mkdirSync(dirname(TIMES), { recursive: true })
writeFileSync(TIMES, JSON.stringify(times, null, 1))
process.exit(code)
