import { createHash } from 'node:crypto'
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fail } from '../../../base/errors.ts'
import type { Accounts } from './accounts.ts'

/** Where things lie. Everything below `data` moves with it; `runtime` is made again at each start. */
export interface Layout {
  readonly data: string
  readonly projects: string
  readonly templates: string
  readonly logs: string
  readonly engines: string
  /** Short: sockets lie in it. */
  readonly runtime: string
  readonly hash: string
  /** There are projects' volumes already: only its owner can look. */
  readonly used: boolean
}

// sun_path is 108 bytes with its closing NUL.
const SOCKET_LIMIT = 107
const LONGEST = '/s/0123456789/.s.PGSQL.65535.lock'
const DATA_MODE = 0o1771
const OURS: readonly string[] = ['projects', 'templates', 'logs', 'engines', 'lock', 'lost+found']

/** The layout of a data directory; makes the directory and its runtime directory. `hash` is given where `data` is a second path to it. */
export function openLayout(data: string, given?: { hash: string }): Layout {
  const dir = makeData(data)
  const hash = given?.hash ?? dataHash(dir)
  const runtime = runtimeDirectory(hash)
  return {
    data: dir,
    projects: join(dir, 'projects'),
    templates: join(dir, 'templates'),
    logs: join(dir, 'logs'),
    engines: join(dir, 'engines'),
    runtime,
    hash,
    used: existsSync(join(dir, 'projects')) && readdirSync(join(dir, 'projects')).length > 0,
  }
}

/** A server that ran here as another user left its lock: its files are not ours to take. Told before anything is touched. */
export function refuseOfAnother(data: string): void {
  const found = statSync(join(data, 'lock'), { throwIfNoEntry: false })
  const own = process.geteuid?.() ?? 0
  if (found === undefined || found.uid === own) return
  throw fail('directory_of_another', { dir: data, owner: nameOf(found.uid), user: nameOf(own) })
}

/** The account's name, else the number. */
function nameOf(uid: number): string {
  const entries = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8').split('\n') : []
  return entries.find((entry) => entry.split(':')[2] === String(uid))?.split(':')[0] ?? String(uid)
}

export const dataHash = (data: string): string => createHash('sha256').update(data).digest('hex').slice(0, 8)

/** Its real path; made if it was not there. */
export function makeData(data: string): string {
  try {
    mkdirSync(data, { recursive: true, mode: 0o700 })
    accessSync(data, constants.R_OK | constants.W_OK | constants.X_OK)
    return realpathSync(data)
  } catch (cause) {
    throw fail('directory_unusable', { dir: data, reason: reasonOf(cause) }, { cause })
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown')

/** /run/sovrabase/<hash> for root, $XDG_RUNTIME_DIR/sovrabase/<hash> or <tmp>/sovrabase-<uid>-<hash> otherwise: made, and certainly ours. */
export function runtimeDirectory(hash: string): string {
  const uid = process.geteuid?.() ?? 0
  const root = uid === 0
  const mode = root ? 0o711 : 0o700
  const temp = tmpdir().length < 50 ? tmpdir() : '/tmp'
  const tries = root
    ? [['/run/sovrabase', hash]]
    : process.env.XDG_RUNTIME_DIR
      ? [[join(process.env.XDG_RUNTIME_DIR, 'sovrabase'), hash]]
      : []
  for (const parts of [...tries, [join(temp, `sovrabase-${uid}-${hash}`)]]) {
    const dir = join(...parts)
    if (dir.length + LONGEST.length > SOCKET_LIMIT) continue
    if (parts.every((_, index) => ownDirectory(join(...parts.slice(0, index + 1)), uid, mode))) {
      for (const sub of ['s', 'r', 'm']) ownDirectory(join(dir, sub), uid, sub === 'r' ? 0o700 : mode)
      return dir
    }
  }
  const path = join(temp, `sovrabase-${uid}-${hash}`)
  if (path.length + LONGEST.length > SOCKET_LIMIT)
    throw fail('path_too_long', { path: path + LONGEST, length: path.length + LONGEST.length, limit: SOCKET_LIMIT })
  throw fail('directory_unusable', { dir: path, reason: 'it cannot be made, or belongs to somebody else' })
}

/** Made with this mode, or there already, a real directory and ours (nobody can have put it there before us). */
function ownDirectory(dir: string, uid: number, mode: number): boolean {
  try {
    mkdirSync(dir, { mode })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
  }
  try {
    const found = lstatSync(dir)
    if (!found.isDirectory() || found.uid !== uid) return false
    chmodSync(dir, mode)
    accessSync(dir, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Takes the runtime directory away. Never recursively below `m`: behind a directory there may be the data directory itself, and a mount
 * point only refuses to be removed.
 */
export function closeLayout({ runtime }: Layout): void {
  const attempt = (step: () => void) => {
    try {
      step()
    } catch {
      // In use, or gone already: what stays is an empty directory.
    }
  }
  for (const sub of ['s', 'r']) attempt(() => rmSync(join(runtime, sub), { recursive: true, force: true }))
  const points = join(runtime, 'm')
  attempt(() => {
    for (const name of readdirSync(points))
      attempt(() => (statSync(join(points, name)).isDirectory() ? rmdirSync : unlinkSync)(join(points, name)))
  })
  attempt(() => unlinkSync(join(runtime, 'config.yaml')))
  attempt(() => rmdirSync(points))
  attempt(() => rmdirSync(runtime))
}

/**
 * Owners and modes of the data directory. Under a keeper it is root's, sticky and writable for the server's group: the server makes its own
 * files in it and cannot put others in the place of the keeper's directories; everyone else may only pass through.
 */
export function settle(layout: Layout, accounts: Accounts): void {
  const { server } = accounts
  const root = server !== null
  const modes: Record<string, number> = { projects: 0o711, templates: 0o700, logs: 0o700, engines: 0o755, lock: 0o755 }
  let at = layout.data
  try {
    if (root) {
      chownSync(layout.data, 0, server)
      chmodSync(layout.data, DATA_MODE)
    }
    for (const name of ['projects', 'templates', 'logs', 'engines', 'lock'] as const) {
      at = join(layout.data, name)
      mkdirSync(at, { recursive: true, mode: 0o700 })
      if (!lstatSync(at).isDirectory()) throw fail('directory_unusable', { dir: at, reason: 'it is not a directory' })
      if (root) chownSync(at, 0, 0)
      chmodSync(at, root ? (modes[name] ?? 0o700) : 0o700)
    }
    if (root)
      for (const entry of readdirSync(layout.data))
        if (!OURS.includes(entry) && !isGiven(layout, entry, server)) give(join(layout.data, entry), server)
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'SovraError') throw cause
    throw fail('directory_unusable', { dir: at, reason: reasonOf(cause) }, { cause })
  }
}

/**
 * Thousands of files that the server alone writes, and could do without: not looked at one by one at each start. `give` comes to a directory
 * after what is in it: once it is the server's, all of it is.
 */
const isGiven = ({ data }: Layout, entry: string, uid: number): boolean => entry === 'cache' && lstatSync(join(data, entry)).uid === uid

/** What an earlier start under another uid left becomes the server's. Files with a second name are left alone: it may lie elsewhere. */
function give(path: string, uid: number): void {
  const found = lstatSync(path)
  if (found.isDirectory()) for (const entry of readdirSync(path)) give(join(path, entry), uid)
  if (found.uid !== uid && (found.isDirectory() || found.nlink === 1)) lchownSync(path, uid, uid)
}

/**
 * For programs that work on the data directory beside a server (the CLI, as root): takes the server's uid, so that what they write stays
 * readable for it. Nothing to do for anyone but root, or on a directory that no keeper has settled.
 */
export function becomeServer(data: string): void {
  if (process.geteuid?.() !== 0) return
  const { gid, mode } = statSync(data)
  if (gid === 0 || (mode & 0o7777) !== DATA_MODE) return
  process.setgroups?.([])
  process.setgid?.(gid)
  process.setuid?.(gid)
}
