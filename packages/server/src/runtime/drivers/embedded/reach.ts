import { spawnSync } from 'node:child_process'
import { mkdirSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import { fail } from '../../../base/errors.ts'

/** What a uid without rights must be able to enter or read. */
export interface Needs {
  readonly uid: number
  /** Root of the program: the clone. */
  readonly app: string
  /** The file that is started, below `app`. */
  readonly entry: string
  /** The Node binary. */
  readonly node: string
  readonly data: string
}

/** The same places, by paths that the uid can enter. */
export type Reached = Pick<Needs, 'app' | 'entry' | 'node' | 'data'>

const TEST = 'for p; do if [ -d "$p" ]; then [ -x "$p" ]; else [ -r "$p" ]; fi || printf "%s\\n" "$p"; done'

/** Which of these the uid cannot enter (directories) or read (files). */
export function closed(uid: number, paths: readonly string[]): string[] {
  const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
  const { stdout, error } = spawnSync('setpriv', [...ids, '/bin/sh', '-c', TEST, 'sh', ...paths], { encoding: 'utf8', cwd: '/' })
  if (error)
    throw fail('program_missing', { program: 'setpriv', remedy: 'Install it (Debian: `apt-get install util-linux`).' }, { cause: error })
  return stdout.split('\n').filter(Boolean)
}

/** The first directory on the way that is closed to others: what to name in an error. */
function firstClosed(path: string): string {
  const parts = path.split(sep)
  const way = parts.map((_, index) => parts.slice(0, index + 1).join(sep) || sep)
  return way.find((dir) => (statSync(dir).mode & 0o001) === 0) ?? path
}

const complaint = (uid: number, path: string) => fail('directory_closed', { uid, path, dir: firstClosed(path) })

/** The data directory itself gets its modes from us: what counts is the way to it. */
const wanted = (needs: Needs): string[] => [dirname(needs.data), needs.entry, needs.node]

/**
 * `open`: everything can be entered as it is. `mount`: the process must start again in a mount namespace of its own and call `bind` there.
 * @throws SovraError `directory_closed` with the directory, where mounting is not permitted.
 */
export function howToReach(needs: Needs): 'open' | 'mount' {
  const [first] = closed(needs.uid, wanted(needs))
  if (first === undefined) return 'open'
  const { status } = spawnSync('unshare', ['--mount', '--propagation', 'private', 'mount', '--bind', '/', '/mnt'])
  if (status !== 0) throw complaint(needs.uid, first)
  return 'mount'
}

/** In the namespace: shows what lies behind closed directories below `at`, for us and our children only; it ends with the last of us. */
export function bind(needs: Needs, at: string): Reached {
  const show = (path: string, name: string): string => {
    const target = join(at, name)
    if (statSync(path).isDirectory()) mkdirSync(target, { recursive: true })
    else writeFileSync(target, '')
    const { status, stderr } = spawnSync('mount', ['--bind', path, target], { encoding: 'utf8' })
    if (status !== 0) throw fail('directory_closed', { uid: needs.uid, path, dir: firstClosed(path) }, { cause: stderr })
    return target
  }
  const hidden = closed(needs.uid, wanted(needs))
  const data = hidden.includes(dirname(needs.data)) ? show(needs.data, 'data') : needs.data
  const app = hidden.includes(needs.entry) ? show(needs.app, 'app') : needs.app
  const entry = join(app, relative(needs.app, needs.entry))
  const inside = !relative(needs.app, needs.node).startsWith('..')
  const node = inside
    ? join(app, relative(needs.app, needs.node))
    : hidden.includes(needs.node)
      ? show(needs.node, basename(needs.node))
      : needs.node
  const [still] = closed(needs.uid, [entry, node])
  if (still !== undefined) throw complaint(needs.uid, still === entry ? needs.entry : needs.node)
  return { data, app, entry, node }
}
