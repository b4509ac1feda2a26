import { spawn } from 'node:child_process'
import { opendir } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join, relative } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fail } from '../../../base/errors.ts'
import { missing } from './shell.ts'

/** A name in it may be long. */
const ERRORS = 65_536
const REASON = 300
/** What tar says beside what is wrong. */
const ASIDE = /Removing leading/
/** What a writer is told when the program that read has gone. */
const READER_GONE = new Set(['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'])
/** Without the middle of a long name: what is wrong stands at the end. */
function reasonOf(said: string): string | undefined {
  const line = said.split('\n').find((one) => one.trim() !== '' && !ASIDE.test(one))
  return line && line.length > REASON ? `${line.slice(0, REASON / 2)}…${line.slice(-REASON / 2)}` : line
}

const as = (uid: number | null): string[] => (uid === null ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'])

/** tar with the rights of the volume's owner only: what lies in an archive, or is linked in a directory, reaches no further than he does. */
function start(args: readonly string[], uid: number | null, stdio: ['pipe' | 'ignore' | Socket, Socket | 'ignore', 'pipe']) {
  const child = spawn('setpriv', [...as(uid), '--no-new-privs', '--pdeathsig=KILL', '--', 'tar', ...args], {
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    cwd: '/',
    stdio,
    detached: true,
  })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < ERRORS) said += text
  })
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(missing('tar', cause)))
    child.once('close', (code) => {
      if (code === 0) resolve()
      else if (/No space left|quota exceeded/i.test(said)) reject(fail('disk_full', { dir: args.at(-1) ?? '' }))
      else reject(fail('parcel_failed', { reason: reasonOf(said) ?? `exit ${code}` }))
    })
  })
  ended.catch(() => {})
  return { child, ended }
}

/** Data is files and directories. A link would lead out of its directory, a device made as root would be the machine's disk in a project's hands. */
async function refuseForeign(dir: string): Promise<void> {
  for await (const entry of await opendir(dir, { recursive: true })) {
    if (entry.isFile() || entry.isDirectory()) continue
    throw fail('volume_foreign', { name: relative(dir, join(entry.parentPath, entry.name)) })
  }
}

/** The directory as a tar: written by tar to the socket itself. What could not be unpacked is not packed: `volume_foreign`. */
export async function pack(dir: string, uid: number | null, to: Socket): Promise<void> {
  await refuseForeign(dir).catch((error: unknown) => {
    to.destroy()
    throw error
  })
  const flags = ['--create', '--sparse', '--file=-', '--numeric-owner', `--directory=${dir}`, '.']
  const { child, ended } = start(flags, uid, ['ignore', to, 'pipe'])
  // A reader that goes away ends tar by itself; our own end is of no use and would keep it open.
  child.once('spawn', () => to.destroy())
  await ended.finally(() => to.destroy())
}

/** A tar into an empty directory: what comes by a socket is read by tar itself. `volume_foreign` for what is neither file nor directory. */
export async function unpack(dir: string, uid: number | null, from: Readable): Promise<void> {
  await extract(dir, uid, from)
  await refuseForeign(dir)
}

async function extract(dir: string, uid: number | null, from: Readable): Promise<void> {
  // It reads to the end of what comes, not to the end of the archive: else the padding may meet a closed pipe. No set-user-id bits: who unpacks may be root.
  const flags = ['--extract', '--ignore-zeros', '--file=-', '--no-same-owner', '--no-same-permissions', '--delay-directory-restore']
  const args = [...flags, `--directory=${dir}`]
  if (from instanceof Socket) {
    const { child, ended } = start(args, uid, [from, 'ignore', 'pipe'])
    // Our own end is of no use, and would hide from who sends that tar has gone.
    child.once('spawn', () => from.destroy())
    return await ended.finally(() => from.destroy())
  }
  const { child, ended } = start(args, uid, ['pipe', 'ignore', 'pipe'])
  try {
    await pipeline(from, child.stdin!).catch(async (error: NodeJS.ErrnoException) => {
      // Why tar went away says more.
      if (READER_GONE.has(error.code ?? '')) await ended
      throw error
    })
    await ended
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    from.destroy()
  }
}
