/** Runs `sovra` as people do: its own process, a home of its own, beside a server of the tests. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export const MAIN = resolve(import.meta.dirname, 'main.ts')
// One home per test file, but one cache of compiled sources for all.
const CACHE = resolve(import.meta.dirname, '../../../.cache/compile')

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface Options {
  readonly input?: string
  readonly env?: Record<string, string>
  readonly program?: readonly string[]
  readonly cwd?: string
}

export interface Running {
  readonly child: ChildProcess
  /** What it has said on standard error so far. */
  err(): string
  readonly ended: Promise<Ran>
}

export interface Cli {
  readonly home: string
  start(args: readonly string[], options?: Options): Running
  run(args: readonly string[], options?: Options): Promise<Ran>
  /** What --json prints; the command must succeed. */
  answer<T>(args: readonly string[], options?: Options): Promise<T>
  remove(): void
}

/** `dataDir`: of the server that it finds without a login. */
export function makeCli(dataDir: () => string): Cli {
  const home = mkdtempSync(join(tmpdir(), 'sovra-cli-'))

  function start(args: readonly string[], { input = '', env = {}, program = [process.execPath, MAIN], cwd = home }: Options = {}): Running {
    const [file = '', ...first] = program
    const child = spawn('setpriv', ['--pdeathsig=KILL', '--', file, ...first, ...args], {
      cwd,
      env: {
        ...process.env,
        HOME: home,
        XDG_CONFIG_HOME: '',
        XDG_STATE_HOME: '',
        TZ: 'UTC',
        NODE_COMPILE_CACHE: CACHE,
        SOVRABASE_DATA_DIR: dataDir(),
        ...env,
      },
    })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.stdin.on('error', () => {}).end(input)
    const ended = new Promise<Ran>((done) => child.on('close', (code) => done({ code, out, err })))
    return { child, err: () => err, ended }
  }

  const run = (args: readonly string[], options?: Options) => start(args, options).ended
  return {
    home,
    start,
    run,
    async answer<T>(args: readonly string[], options?: Options) {
      const ran = await run([...args, '--json'], options)
      assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.err}${ran.out}`)
      return JSON.parse(ran.out) as T
    },
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}
