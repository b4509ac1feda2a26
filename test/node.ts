/** Starts a real server for a test file: own data directory, free ports, gone with the test process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { newDataDir } from './seed.ts'
import { until } from './until.ts'

const root = resolve(import.meta.dirname, '..')
/** The server's script. */
export const main = join(root, 'packages/server/src/main.ts')

export interface TestServer {
  readonly url: string
  /** Base URL of the listener for metrics. */
  readonly adminUrl: string
  /** Host and port of the wire listener. */
  readonly wire: { readonly host: string; readonly port: number }
  readonly dataDir: string
  /** Authorisation of this machine's owner. */
  readonly localToken: string
  readonly child: ChildProcess
  /** All that it has printed. */
  output(): string
  /** The control API as this machine's owner, or with another token. */
  api<T = Record<string, unknown>>(method: string, path: string, body?: unknown, options?: ApiOptions): Promise<ApiAnswer<T>>
  /** Ends it: SIGTERM by default. Resolves with its exit code. */
  kill(signal?: NodeJS.Signals): Promise<number | null>
  /** Ends it and removes its data. */
  stop(): Promise<void>
}

export interface ApiOptions {
  readonly token?: string | null
  readonly headers?: Record<string, string>
}

export interface ApiAnswer<T> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
}

export interface StartOptions {
  readonly env?: Record<string, string>
  /** An existing data directory; it is then kept. */
  readonly dataDir?: string
  /** The script of another version. */
  readonly program?: string
  /** Options of setpriv: started as another user, the server is one process without a keeper. */
  readonly rights?: readonly string[]
}

/** As nobody in particular. */
export const WITHOUT_RIGHTS: readonly string[] = ['--reuid=65534', '--regid=65534', '--clear-groups']

/** ms until the first start has built its template and demo. */
const PATIENCE = 90_000
/** Of each server's errors, so many last lines are shown when a test of the file failed. */
const SHOWN_ERRORS = 12

/** What a server said before a test failed: without it, a failure on another machine tells nothing. */
function showErrors(text: string): void {
  if (!process.exitCode) return
  // The keeper says what it could not do in plain words; the server hears of it as an internal error only.
  const errors = text.split('\n').filter((line) => /"level":"?(error|fatal|[56]0)|^keeper:/.test(line))
  for (const line of errors.slice(-SHOWN_ERRORS)) console.error(line.slice(0, 2000))
}

/** A start that is expected to end by itself. */
export function runServer(
  dataDir: string,
  { env = {}, program = main }: { env?: Record<string, string>; program?: string } = {},
): Promise<{ code: number | null; output: string }> {
  const child = spawn('setpriv', ['--pdeathsig=KILL', '--', process.execPath, '--no-warnings', program], {
    env: {
      ...process.env,
      SOVRABASE_DATA_DIR: dataDir,
      SOVRABASE_API_PORT: '0',
      SOVRABASE_ADMIN_PORT: '0',
      SOVRABASE_WIRE_PORT: '0',
      SOVRABASE_DEMO: 'off',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
  return new Promise((done) => child.once('close', (code) => done({ code, output })))
}

export async function startServer(options: StartOptions = {}): Promise<TestServer> {
  const dataDir = options.dataDir ?? newDataDir()
  let text = ''
  const env = {
    ...process.env,
    // None there: a config.yaml of the checkout's is not the test's.
    CONFIG_PATH: join(dataDir, 'config.yaml'),
    SOVRABASE_DATA_DIR: dataDir,
    SOVRABASE_API_PORT: '0',
    SOVRABASE_ADMIN_PORT: '0',
    SOVRABASE_WIRE_PORT: '0',
    SOVRABASE_LOG_FORMAT: 'json',
    ...options.env,
  }
  const command = [process.execPath, '--no-warnings', options.program ?? main]
  // The kernel ends the server when this process dies, however it dies.
  const child = spawn('setpriv', [...(options.rights ?? []), '--pdeathsig=KILL', '--', ...command], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  process.once('exit', () => showErrors(text))
  const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)))
  const line = (name: string) => new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(text)?.[1]

  await until(() => {
    // One that has ended is not waited for.
    return child.exitCode !== null || text.includes('Ctrl-C stops everything')
  }, PATIENCE)
    .then(() => {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`)
    })
    .catch((error: unknown) => {
      child.kill('SIGKILL')
      throw new Error(`the server did not start:\n${text}`, { cause: error })
    })
  const url = line('URL') ?? ''
  const [host = '', port = ''] = (line('PostgreSQL') ?? '').split(':')
  const localToken = readFileSync(join(dataDir, 'keys', 'local.token'), 'utf8').trim()

  async function kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    return ended
  }

  return {
    url,
    adminUrl: line('Admin') ?? '',
    wire: { host, port: Number(port) },
    dataDir,
    localToken,
    child,
    output: () => text,
    async api<T>(method: string, path: string, body?: unknown, { token = localToken, headers = {} }: ApiOptions = {}) {
      const response = await fetch(`${url}/v1${path}`, {
        method,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const answer = await response.text()
      return { status: response.status, headers: response.headers, body: (answer === '' ? null : JSON.parse(answer)) as T }
    },
    kill,
    async stop() {
      await kill()
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
