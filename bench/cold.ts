/**
 * Process start to the first /health, beside a process that imports the same direct dependencies and listens. `--rounds 9`
 *
 * The dependencies are those of the server's own files, also where it loads them at their first use: loading them late is what a start
 * gains by. A second line says how it is beside those that the start itself loads.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { until } from '../test/until.ts'
import { bar, closing, median, ms } from './lib/figures.ts'
import { startBench, withCleanup } from './lib/server.ts'

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '9' } } })
const root = resolve(import.meta.dirname, '..')
const source = join(root, 'packages/server/src')
const POLL_MS = 2
const TEMPLATE_MS = 120_000

const STATIC = /^(?:import|export)\s(?!type\s)[^;'"]*?from\s+'([^']+)'/gm
/** At their first use: packages by `later`, files of ours by `import()`. */
const LATE = /\blater<typeof import\('([^']+)'\)|\bimport\('(\.[^']+)'\)/g

/** Packages that the server's files import, found by following their imports. */
function dependencies(...kinds: readonly RegExp[]): string[] {
  const found = new Set<string>()
  const seen = new Set<string>()
  const queue = [join(source, 'main.ts'), join(source, 'serve.ts')]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file) || !existsSync(file)) continue
    seen.add(file)
    const text = readFileSync(file, 'utf8')
    for (const [, package_, own] of kinds.flatMap((kind) => [...text.matchAll(kind)])) {
      const from = package_ ?? own ?? ''
      if (from.startsWith('.')) queue.push(join(dirname(file), from))
      else if (from.startsWith('@sovrabase/contract/')) queue.push(join(root, 'packages/contract/src', `${from.slice(20)}.ts`))
      else if (!from.startsWith('node:')) found.add(from)
    }
  }
  return [...found].sort()
}

const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => done(port))
    })
  })

/** ms from its start to the first answer with 200; then it is ended. */
async function start(script: string, port: number, env: Record<string, string>): Promise<number> {
  const begun = performance.now()
  const child = spawn('setpriv', ['--pdeathsig=KILL', '--', process.execPath, '--no-warnings', script], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: 'ignore',
  })
  const ended = once(child, 'exit')
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${script} ended with ${child.exitCode}`)
    const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null)
    await answer?.arrayBuffer()
    if (answer?.status === 200) break
    await new Promise((next) => setTimeout(next, POLL_MS))
  }
  const took = performance.now() - begun
  child.kill('SIGTERM')
  await ended
  return took
}

await withCleanup(async (later) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sovra-bench-'))
  later(() => rmSync(dataDir, { recursive: true, force: true }))
  // The first start makes template and secrets: it is another thing. A template that is not whole would be made anew beside each start.
  const first = await startBench({}, { dataDir })
  const isVisible = (name: string) => !name.startsWith('.')
  await until(() => readdirSync(join(dataDir, 'templates')).some(isVisible), TEMPLATE_MS)
  await first.kill()
  const packages = dependencies(STATIC, LATE)
  const early = dependencies(STATIC)
  console.log(`  ${packages.length} direct imports: ${packages.join(', ')}`)
  console.log(`  ${early.length} of them at the start: ${early.join(', ')}`)
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'cold-'))
  later(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const importing = (name: string, names: readonly string[]): string => {
    const script = join(folder, name)
    writeFileSync(
      script,
      `${names.map((one) => `import '${one}'`).join('\n')}
import { createServer } from 'node:http'
process.on('SIGTERM', () => process.exit(0))
createServer((_, answer) => answer.end('{"status":"ok"}')).listen(Number(process.env.PORT), '127.0.0.1')
`,
    )
    return script
  }
  const all = importing('all.js', packages)
  const atStart = importing('start.js', early)
  const port = await freePort()
  const cache = { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.cache/compile') }
  const server = {
    ...cache,
    SOVRABASE_DATA_DIR: dataDir,
    SOVRABASE_API_PORT: String(port),
    SOVRABASE_ADMIN_PORT: '0',
    SOVRABASE_WIRE_PORT: '0',
    SOVRABASE_DEMO: 'off',
    SOVRABASE_LOG_FORMAT: 'json',
  }
  const ours: number[] = []
  const theirs: number[] = []
  const fewer: number[] = []
  // Two rounds warm the compile cache of all.
  for (let round = -2; round < Number(flags.rounds); round++) {
    const beside = await start(all, port, { ...cache, PORT: String(port) })
    const took = await start('packages/server/src/main.ts', port, server)
    const least = await start(atStart, port, { ...cache, PORT: String(port) })
    if (round < 0) continue
    ours.push(took)
    theirs.push(beside)
    fewer.push(least)
  }
  console.log(
    `  ours ${ms(median(ours))}${process.getuid?.() === 0 ? ' (as root: a keeper, then the server)' : ''}  imports and listen ${ms(median(theirs))}`,
  )
  const ratio = (of: readonly number[]) => median(ours.map((took, i) => took / of[i]!))
  bar('cold start', ratio(theirs), 1.3)
  console.log(`        (${ratio(fewer).toFixed(2)} × beside what a start loads alone: ${ms(median(fewer))})`)
  closing()
})
