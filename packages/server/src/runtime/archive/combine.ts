import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { access, constants, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fail } from '../../base/errors.ts'
import type { RestorePlan } from './plan.ts'

/** PostgreSQL's own program that puts a base and its changes together. */
const PROGRAM = 'pg_combinebackup'
const MAJOR = 18
const CHECKOUT = resolve(import.meta.dirname, '../../../../..')
const PRIVATE = 0o700
const ERRORS = 4096

/** On the PATH, where distributions keep them, where `make tools` puts them; null: nowhere. */
export async function findCombiner(): Promise<string | null> {
  const cache = process.env.SOVRA_TOOLS_DIR || join(CHECKOUT, '.cache/tools')
  const places = [`/usr/lib/postgresql/${MAJOR}/bin`, join(cache, `postgresql-${MAJOR}/bin`), ...(process.env.PATH ?? '').split(':')]
  for (const place of places) {
    const program = join(place, PROGRAM)
    if (
      place !== '' &&
      (await access(program, constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return program
  }
  return null
}

/** A program with what comes in and goes out; rejects with its first words. */
function run(program: string, args: readonly string[], input?: Readable): { readonly out: Readable; readonly done: Promise<void> } {
  const child = spawn('setpriv', ['--pdeathsig=KILL', '--', program, ...args], {
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', LD_LIBRARY_PATH: join(program, '../../lib') },
    stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  }) as ChildProcessByStdio<Writable | null, Readable, Readable>
  let said = ''
  let cut: Error | undefined
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < ERRORS) said += text
  })
  const done = new Promise<void>((fulfil, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0 && !cut) fulfil()
      else if (code === 0) reject(cut)
      else reject(fail('archive_recovery_failed', { reason: said.trim().split('\n')[0]?.slice(0, 300) || `exit ${code}` }))
    })
    if (input)
      pipeline(input, child.stdin!).catch((error: NodeJS.ErrnoException) => {
        cut = error
        // A program that went away says why by itself.
        if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_PREMATURE_CLOSE') return
        child.kill('SIGKILL')
        reject(error)
      })
  })
  done.catch(() => {})
  return { out: child.stdout, done }
}

/**
 * A base and those of changes that build on it as one tar: unpacked side by side in the spool, put together, and packed again. Runs as the server itself, on
 * data of one project only.
 */
export async function combineBases(
  { chain }: RestorePlan,
  open: (index: number) => Promise<Readable>,
  spool: string,
): Promise<{ tar: Readable; done: () => Promise<void> }> {
  const program = await findCombiner()
  if (!program) throw fail('tools_missing', { program: PROGRAM, major: MAJOR })
  await mkdir(spool, { recursive: true, mode: PRIVATE })
  const dir = await mkdtemp(join(spool, 'combine-'))
  const remove = () => rm(dir, { recursive: true, force: true })
  try {
    const parts: string[] = []
    for (const index of chain.keys()) {
      const part = join(dir, String(index))
      await mkdir(part, { mode: PRIVATE })
      const flags = ['--extract', '--ignore-zeros', '--file=-', '--no-same-owner', `--directory=${part}`]
      const { out, done } = run('tar', flags, await open(index))
      out.resume()
      await done
      parts.push(part)
    }
    const whole = join(dir, 'whole')
    const combined = run(program, ['--no-sync', '--no-manifest', '--manifest-checksums=NONE', `--output=${whole}`, ...parts])
    combined.out.resume()
    await combined.done
    for (const part of parts) await rm(part, { recursive: true, force: true })
    // Members named as the server itself names them, and none but plain ones.
    const { out, done } = run('tar', [
      '--create',
      '--file=-',
      '--format=ustar',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      `--directory=${whole}`,
      ...(await readdir(whole)),
    ])
    const tar = new PassThrough({ highWaterMark: 1 << 20 })
    out.on('error', (error) => tar.destroy(error)).pipe(tar, { end: false })
    out.once(
      'end',
      () =>
        void done.then(
          () => tar.end(),
          (error: Error) => tar.destroy(error),
        ),
    )
    return { tar, done: remove }
  } catch (error) {
    await remove()
    throw error
  }
}
