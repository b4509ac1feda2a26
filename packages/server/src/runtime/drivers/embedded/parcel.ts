import { spawn } from 'node:child_process'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fail } from '../../../base/errors.ts'
import { missing } from './shell.ts'

const ERRORS = 4096
/** What a writer is told when the program that read has gone. */
const READER_GONE = new Set(['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'])
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
      else reject(fail('parcel_failed', { reason: said.trim().split('\n')[0]?.slice(0, 300) ?? `exit ${code}` }))
    })
  })
  ended.catch(() => {})
  return { child, ended }
}

/** The directory as a tar: written by tar to the socket itself. */
export async function pack(dir: string, uid: number | null, to: Socket): Promise<void> {
  const flags = ['--create', '--sparse', '--file=-', '--numeric-owner', `--directory=${dir}`, '.']
  const { child, ended } = start(flags, uid, ['ignore', to, 'pipe'])
  // A reader that goes away ends tar by itself; our own end is of no use and would keep it open.
  child.once('spawn', () => to.destroy())
  await ended.finally(() => to.destroy())
}

/** A tar into an empty directory: what comes by a socket is read by tar itself. */
export async function unpack(dir: string, uid: number | null, from: Readable): Promise<void> {
  // It reads to the end of what comes, not to the end of the archive: else the padding may meet a closed pipe.
  const flags = ['--extract', '--ignore-zeros', '--file=-', '--no-same-owner', '--preserve-permissions', '--delay-directory-restore']
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
