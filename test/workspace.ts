/** For the runner of the tests (scripts/test.ts): where a run keeps its files, and what its servers begin with. */
import { execFileSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { startServer } from './node.ts'
import { COMPILED, LINKED, TEMPLATE_KEY } from './seed.ts'

const SHARED_MEMORY = '/dev/shm'
/** Bytes that must be free there: a run takes about a fifth of it. */
const ROOM = 6 * 2 ** 30
const PREFIX = 'sovra-run-'

/** Servers run their own copies of programs: a container's /dev/shm often forbids it. */
function holdsPrograms(dir: string): boolean {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  const options = mounts.map((line) => line.split(' ')).find((fields) => fields[1] === dir)?.[3]
  return options !== undefined && !options.split(',').includes('noexec')
}

/**
 * Memory where there is enough of it, since each new project writes its whole file system out, and what a power cut leaves is not what these
 * tests show: half of the run would be waiting for the disk. A TMPDIR that is set is taken.
 */
function parentDir(): string {
  try {
    const { bavail, bsize } = statfsSync(SHARED_MEMORY)
    const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024
    accessSync(SHARED_MEMORY, constants.W_OK)
    if (!process.env.TMPDIR && holdsPrograms(SHARED_MEMORY) && Math.min(bavail * bsize, available) >= ROOM) return SHARED_MEMORY
  } catch {
    // No such place here.
  }
  return tmpdir()
}

/** What killed runs left behind: in memory it would stay until the next boot. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(parent, name), { recursive: true, force: true })
  }
}

/** The directory of all temporary files of a run; whoever made it removes it. Short, since sockets lie in it. */
export function makeWorkspace(): string {
  const parent = parentDir()
  sweep(parent)
  const dir = mkdtempSync(join(parent, `${PREFIX}${process.pid}-`))
  // As /tmp is: servers and engines under other uids make directories of theirs in it.
  chmodSync(dir, 0o1777)
  return dir
}

/** Starts a server, demo project and all, and keeps what other data directories may begin with; answers the directory of it. */
export async function makeSeed(workspace: string): Promise<string> {
  const [first, seed] = [join(workspace, 'first'), join(workspace, 'seed')]
  const server = await startServer({ dataDir: first })
  await server.kill()
  mkdirSync(seed)
  for (const name of [...LINKED, TEMPLATE_KEY, COMPILED].filter((one) => existsSync(join(first, one)))) {
    mkdirSync(dirname(join(seed, name)), { recursive: true })
    renameSync(join(first, name), join(seed, name))
  }
  // Servers read the compiled sources under uids of their own; none of them can write there.
  if (existsSync(join(seed, COMPILED))) execFileSync('chmod', ['-R', 'a+rX', join(seed, COMPILED)])
  rmSync(first, { recursive: true, force: true })
  return seed
}
