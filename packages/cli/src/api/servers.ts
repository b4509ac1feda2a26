import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { stop } from '../terminal/errors.ts'

export interface Server {
  readonly url: string
  readonly token: string
  /** Id of the token, to revoke it at logout; null: it was brought, not made here. */
  readonly token_id: string | null
  readonly email: string | null
}

/** Servers that one has signed in to, by name. */
export interface Servers {
  readonly current: string | null
  readonly servers: Readonly<Record<string, Server>>
}

/** The server of this machine: it needs no login. */
export const LOCAL = 'local'
const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/

/** ~/.config/sovrabase/servers.json, or below XDG_CONFIG_HOME. */
export const serversFile = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config'), 'sovrabase', 'servers.json')

const isServer = (value: unknown): value is Server =>
  typeof value === 'object' && value !== null && 'url' in value && 'token' in value && typeof value.token === 'string'

export function readServers(file = serversFile()): Servers {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { current: null, servers: {} }
    throw stop('servers_file_unusable', { file, reason: (error as Error).message }, { cause: error })
  }
  try {
    const { current, servers } = JSON.parse(text) as Servers
    if (typeof servers === 'object' && Object.values(servers).every(isServer)) return { current: current ?? null, servers }
  } catch {
    // Falls through: it is not ours.
  }
  throw stop('servers_file_unusable', { file, reason: 'it is not what `sovra login` writes' })
}

/** Its owner's alone, replaced in one step. */
export function writeServers(servers: Servers, file = serversFile()): void {
  const fresh = `${file}.${process.pid}`
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(fresh, `${JSON.stringify(servers, null, 2)}\n`, { mode: 0o600 })
    chmodSync(fresh, 0o600)
    renameSync(fresh, file)
  } catch (error) {
    throw stop('servers_file_unusable', { file, reason: (error as Error).message }, { cause: error })
  }
}

export function checkName(name: string): string {
  if (!NAME.test(name) || name === LOCAL)
    throw stop('usage_wrong', {
      reason: `'${name}' is no name for a server`,
      hint: 'Use lower-case letters, digits, dots and hyphens; `local` is this machine.',
    })
  return name
}

export function withServer({ servers }: Servers, name: string, server: Server): Servers {
  return { current: name, servers: { ...servers, [name]: server } }
}

export function withoutServer({ current, servers }: Servers, name: string): Servers {
  const { [name]: _, ...rest } = servers
  return { current: current === name ? null : current, servers: rest }
}
