/** What reaches the server package: the one file of the CLI that does. */
import { accessSync, existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { lockHolder } from '@sovrabase/server/base/lock'
import { readLocalToken } from '@sovrabase/server/realms/local-token'
import { stop } from '../terminal/errors.ts'

const ROOT = resolve(import.meta.dirname, '../../../..')
const MAIN = join(ROOT, 'packages/server/src/main.ts')
const CONFIG = 'config.yaml'
const DATA = 'data'
const LOOPBACK = /^(127\..*|\[::1\]|(.*\.)?localhost)$/

/** Where `config.yaml` and `data/` are looked for: the working directory when it has a configuration, else the installation's. */
const folder = (): string => (existsSync(join(process.cwd(), CONFIG)) ? process.cwd() : ROOT)

/** The schema of the configuration costs five times the start of the CLI: it is loaded where nothing else can tell. */
export const configHere = async () => (await import('@sovrabase/server/config')).loadConfig({ cwd: folder() })
const wholeConfig = async () => (await configHere()).config

/** Whether this file may say where the data lies; one that cannot be read is for `loadConfig` to complain about. */
function namesDir(file: string): boolean {
  try {
    return /\bdir["']?\s*:/.test(readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, ''))
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

async function dataDir(): Promise<string> {
  const { SOVRABASE_DATA_DIR: given, CONFIG_PATH: named } = process.env
  if (given) return resolve(given)
  return namesDir(resolve(folder(), named || CONFIG)) ? (await wholeConfig()).data.dir : join(folder(), DATA)
}

/** Where the data of this machine's server lies, or would lie. */
export const configuredDataDir = dataDir

export type { Recovered } from '@sovrabase/server/recover'
export type { Archive } from '@sovrabase/server/restore'
/** Reads backups and puts them back. */
export const backups = () => import('@sovrabase/server/restore')

/** One in a bucket, as a file. */
export const backupFetch = () => import('@sovrabase/server/backup-fetch')

export interface Local {
  readonly dataDir: string
  readonly pid: number
  /** What the API is reached by from this machine, and how. */
  readonly url: string
  readonly fetch: typeof fetch
  /** What it says of itself: for browsers. */
  readonly publicUrl: string
  readonly token: string
}

type Way = Pick<Local, 'url' | 'fetch'>

/** The way of the local token, which is taken from loopback peers only: not the public one of a proxy. */
async function ownWay(announced: string): Promise<Way> {
  const { protocol, hostname } = new URL(announced)
  const isLoopback = LOOPBACK.test(hostname)
  if (isLoopback && protocol === 'http:') return { url: announced, fetch }
  const { host, port, tls } = (await wholeConfig()).api
  const any = host === '0.0.0.0' || host === '::'
  const here = `${any ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host}:${port}`
  const url = isLoopback || port === 0 ? announced : `${tls.cert_file === null ? 'http' : 'https'}://${here}`
  if (tls.cert_file === null || !url.startsWith('https:')) return { url, fetch }
  const { pinnedFetch } = await import('@sovrabase/server/base/pinned-fetch')
  try {
    return { url, fetch: pinnedFetch(readFileSync(tls.cert_file, 'utf8')) }
  } catch {
    // Gone, or half written: then it must be one that everybody trusts, by its name.
    return { url, fetch }
  }
}

/** The server that runs on this machine's data directory. `server_not_running`, `data_closed`, those of config and token. */
export async function localServer(): Promise<Local> {
  const dir = await dataDir()
  try {
    accessSync(join(dir, 'lock'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') throw stop('data_closed', { dir })
    throw stop('server_not_running', { dir })
  }
  const holder = await lockHolder(dir)
  if (!holder) throw stop('server_not_running', { dir })
  if (!URL.canParse(holder.url)) throw stop('server_starting', { pid: holder.pid })
  const token = readLocalToken(join(dir, 'keys/local.token'))
  return { dataDir: dir, pid: holder.pid, publicUrl: holder.url, ...(await ownWay(holder.url)), token }
}

/** Who holds this machine's data directory, and where that is; null: nobody. */
export async function holderHere(): Promise<{ dir: string; holder: { pid: number; url: string } | null }> {
  const dir = await dataDir()
  return { dir, holder: existsSync(join(dir, 'lock')) ? await lockHolder(dir) : null }
}

/** What runs the server, for a process of its own: arguments, working directory and environment. */
export function serverCommand() {
  return { file: process.execPath, args: [MAIN], cwd: folder(), env: serverEnvironment() }
}

function serverEnvironment(): Record<string, string> {
  const { SOVRABASE_DATA_DIR: given } = process.env
  // A relative path means the directory that it was given in.
  return { ...process.env, ...(given ? { SOVRABASE_DATA_DIR: resolve(given) } : {}) } as Record<string, string>
}

/** Becomes the server: same process, so that signals and exit codes are its own. */
export function startServer(): never {
  process.chdir(folder())
  process.execve!(process.execPath, [process.execPath, MAIN], serverEnvironment())
  throw stop('internal')
}
