import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { fail, type SovraError } from '../../../base/errors.ts'

const OUTPUT = 65_536
const CLEAN = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }

export interface Ended {
  code: number | null
  out: string
  err: string
}

export interface Surroundings {
  readonly environment?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** What it reads. */
  readonly input?: string
}

/** Runs a program of the system to its end, in a clean environment; it ends with us. Rejects only when it cannot be started. */
export function run(
  program: string,
  args: readonly string[],
  { environment = {}, cwd = '/', input = '' }: Surroundings = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', ['--pdeathsig=KILL', '--', program, ...args], {
      env: { ...CLEAN, ...environment },
      cwd,
      stdio: [input === '' ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      detached: true,
    })
    let out = ''
    let err = ''
    // One that ends without reading it says so by its exit code.
    child.stdin?.on('error', () => {}).end(input)
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      if (out.length < OUTPUT) out += text
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      if (err.length < OUTPUT) err += text
    })
    child.on('error', (cause) => reject(missing('setpriv', cause)))
    child.on('close', (code) => (code === 127 ? reject(missing(program, err)) : resolve({ code, out, err })))
  })
}

export const missing = (program: string, cause: unknown): SovraError =>
  fail('program_missing', { program, remedy: 'Install it (Debian: `apt-get install util-linux coreutils`).' }, { cause })

/** As `run`, but an exit code other than 0 is an error that names the directory. */
export async function must(program: string, args: readonly string[], dir: string): Promise<string> {
  const { code, out, err } = await run(program, args)
  if (code === 0) return out
  if (/No space left|quota exceeded/i.test(err)) throw fail('disk_full', { dir })
  throw fail('directory_unusable', { dir, reason: `${program}: ${err.trim().split('\n')[0] ?? code}`.slice(0, 300) })
}

/** A rename or a new name is on disk only when its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
