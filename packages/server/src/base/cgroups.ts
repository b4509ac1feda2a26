import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where this process stands in the kernel's groups that count memory (cgroups(7)). */
export interface MemoryGroup {
  readonly kind: 'cgroup2' | 'cgroup1'
  readonly mount: string
  /** Our group below the mount; in a container its path may only be known from outside, then the mount itself is ours. */
  readonly dirs: readonly string[]
}

export function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return otherwise
  }
}

function below(mount: readonly string[] | undefined, path: string | undefined, kind: MemoryGroup['kind']): MemoryGroup[] {
  const [root = '/', point] = mount?.slice(3, 5) ?? []
  if (!point || !path) return []
  const inside = path.startsWith(root) ? path.slice(root.length) : path
  return [{ kind, mount: point, dirs: [join(point, inside), point] }]
}

/** Version 2 before 1; a machine may have both, and only one of them counts memory. */
export function memoryGroups(proc = '/proc/self'): MemoryGroup[] {
  const lines = readOr(join(proc, 'cgroup'), '').trim().split('\n')
  const mounts = readOr(join(proc, 'mountinfo'), '')
    .split('\n')
    .map((line) => line.split(' '))
  const unified = lines.find((line) => line.startsWith('0::'))?.slice(3)
  const legacy = lines.find((line) => /^\d+:([^:]*,)?memory(,[^:]*)?:/.test(line))?.split(':')[2]
  return [
    ...below(
      mounts.find((one) => one.includes('cgroup2')),
      unified,
      'cgroup2',
    ),
    ...below(
      mounts.find((one) => one.includes('cgroup') && /(^|,)memory(,|$)/.test(one.at(-1) ?? '')),
      legacy,
      'cgroup1',
    ),
  ]
}

const FILES = {
  cgroup2: { limit: 'memory.max', used: 'memory.current', files: /^(?:in)?active_file (\d+)$/gm },
  cgroup1: { limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes', files: /^total_(?:in)?active_file (\d+)$/gm },
} as const

/** Bytes that one group can still take; without limit: infinite. Copies of files are given back when memory is wanted, half of them are counted. */
function roomOf(dir: string, kind: MemoryGroup['kind']): number {
  const { limit, used, files } = FILES[kind]
  const [most, taken] = [limit, used].map((name) => Number.parseInt(readOr(join(dir, name), ''), 10))
  if (!Number.isFinite(most) || !Number.isFinite(taken)) return Number.POSITIVE_INFINITY
  const cached = [...readOr(join(dir, 'memory.stat'), '').matchAll(files)].reduce((sum, [, bytes]) => sum + Number(bytes), 0)
  return Math.max(0, most! - taken! + cached / 2)
}

/** Bytes that our group and those above it can still take: what a container or a unit was given, where that is less than the machine's. */
export function groupRoom(groups: readonly MemoryGroup[] = memoryGroups()): number {
  let room = Number.POSITIVE_INFINITY
  for (const { kind, mount, dirs } of groups) {
    for (let dir = dirs.find((one) => readOr(join(one, FILES[kind].used), '') !== '') ?? mount; ; dir = dirname(dir)) {
      room = Math.min(room, roomOf(dir, kind))
      if (dir === mount || dir === '/') break
    }
  }
  return room
}
