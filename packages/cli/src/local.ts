/** What reaches the server package: the one file of the CLI that does. */
import { accessSync, existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { lockHolder } from '@sovrabase/server/base/lock'
import { type Config, isLoopback, loadConfig } from '@sovrabase/server/config'
import { readLocalToken } from '@sovrabase/server/realms/local-token'
import { stop } from './errors.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const MAIN = join(ROOT, 'packages/server/src/main.ts')

/** Where `config.yaml` and `data/` are looked for: the working directory when it has a configuration, else the installation's. */
const folder = (): string => (existsSync(join(process.cwd(), 'config.yaml')) ? process.cwd() : ROOT)

export interface Local {
  readonly dataDir: string
  readonly pid: number
  /** What the API is reached by from this machine. */
  readonly url: string
  readonly token: string
}

/** The address for the local token, which is taken from loopback peers only: not the public one of a proxy. */
function ownUrl({ api }: Config, announced: string): string {
  if (isLoopback(new URL(announced).hostname) || api.port === 0 || api.tls.cert_file !== null) return announced
  const any = api.host === '0.0.0.0' || api.host === '::'
  return `http://${any ? '127.0.0.1' : api.host.includes(':') ? `[${api.host}]` : api.host}:${api.port}`
}

/** The server that runs on this machine's data directory. `server_not_running`, `data_closed`, those of config and token. */
export async function localServer(): Promise<Local> {
  const { config } = loadConfig({ cwd: folder() })
  const dataDir = config.data.dir
  try {
    accessSync(join(dataDir, 'lock'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') throw stop('data_closed', { dir: dataDir })
    throw stop('server_not_running', { dir: dataDir })
  }
  const holder = await lockHolder(dataDir)
  if (!holder) throw stop('server_not_running', { dir: dataDir })
  if (!URL.canParse(holder.url)) throw stop('server_starting', { pid: holder.pid })
  return { dataDir, pid: holder.pid, url: ownUrl(config, holder.url), token: readLocalToken(join(dataDir, 'keys/local.token')) }
}

/** Becomes the server: same process, so that signals and exit codes are its own. */
export function startServer(): never {
  process.chdir(folder())
  process.execve!(process.execPath, [process.execPath, MAIN], process.env as Record<string, string>)
  throw stop('internal')
}
