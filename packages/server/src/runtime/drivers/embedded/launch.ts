import { type ChildProcess, spawn } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fail } from '../../../base/errors.ts'
import type { Layout } from './layout.ts'
import { missing, run } from './shell.ts'

/** Last characters of what a failed program said. */
const SAID = 500
/** Above the server's 0: when memory runs out, a project's process goes before it, also where the server has taken most of it. */
const OOM_SCORE = '800'

// Runs with the rights of the project already. The death signal is set before it: a parent that died in between is seen by its number.
const BEGIN = `[ "$PPID" = "$1" ] || exit 70
umask 077; ulimit -c 0
echo "$2" > /proc/self/oom_score_adj 2>/dev/null
[ "$3" = 0 ] || ulimit -d "$3" || exit 71
shift 3; exec "$@"`

export interface Launch {
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** null: our own. */
  readonly uid: number | null
  readonly cwd: string
  /** KiB of private memory for one process; 0: none. */
  readonly data: number
  /** What a program that is run once reads. */
  readonly input?: string
}

const dropTo = (uid: number | null): string[] => (uid === null ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'])

/** Arguments of setpriv: other uid, no way to new rights, ended by SIGQUIT with us, however we end. */
function guarded(launch: Launch): string[] {
  const { uid, data, command } = launch
  const begin = ['/bin/sh', '-c', BEGIN, 'sh', String(process.pid), OOM_SCORE, String(data), ...command]
  return [...dropTo(uid), '--no-new-privs', '--pdeathsig=QUIT', '--', ...begin]
}

/** Starts a process in a session of its own; its output goes to the open file. */
export function launch(order: Launch, output: number): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', guarded(order), {
      env: { ...order.environment, PATH: '/usr/bin:/bin' },
      cwd: order.cwd,
      stdio: ['ignore', output, output],
      detached: true,
    })
    child.once('error', (cause) => reject(missing('setpriv', cause)))
    child.once('spawn', () => resolve(child))
  })
}

const LEND = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'
const BORROWED: readonly string[] = ['nobody', 'daemon']

/**
 * Runs a program once to its end. initdb wants a user that exists, our uids have no account: it is shown an /etc/passwd with one in a mount
 * namespace of its own; where that is not permitted, root lends it `nobody` for the moment and gives the files back. Answers what it printed.
 */
export async function runOnce(order: Launch, layout: Layout, returnTo: (uid: number | null) => Promise<void>): Promise<string> {
  const uid = order.uid ?? process.geteuid?.() ?? 0
  const bare = ['setpriv', ...dropTo(order.uid), '--no-new-privs', '--pdeathsig=KILL', '--', ...order.command]
  const finish = async (argv: readonly string[]): Promise<string> => {
    const { code, out, err } = await run(argv[0]!, argv.slice(1), order)
    if (code === 0) return out
    const said = (err || out).trim().slice(-SAID)
    throw fail('program_failed', { program: basename(order.command[0]!), reason: code === null ? `it was killed ${said}`.trim() : said })
  }
  if ((await run('getent', ['passwd', String(uid)])).code === 0) return await finish(bare)

  const passwd = join(layout.runtime, `passwd-${uid}`)
  await writeFile(passwd, `root:x:0:0::/:/bin/false\nsovrabase:x:${uid}:${uid}::/:/bin/false\n`, { mode: 0o644 })
  try {
    const space = order.uid === null ? ['--user', '--map-current-user', '--keep-caps'] : []
    const lend = ['unshare', ...space, '--mount', '--propagation', 'private', '/bin/sh', '-c', LEND, 'sh', passwd]
    if ((await run(lend[0]!, [...lend.slice(1), 'true'])).code === 0) return await finish([...lend, ...bare])
  } finally {
    await rm(passwd, { force: true })
  }
  if (order.uid === null) throw fail('account_missing', { uid })
  for (const name of BORROWED) {
    const { code, out } = await run('id', ['-u', name])
    if (code !== 0) continue
    const lent = Number(out)
    await returnTo(lent)
    try {
      return await finish(['setpriv', ...dropTo(lent), '--no-new-privs', '--pdeathsig=KILL', '--', ...order.command])
    } finally {
      await returnTo(order.uid)
    }
  }
  throw fail('account_missing', { uid })
}
