import { accessSync, constants, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type MemoryGroup, memoryGroups, readOr } from '../../../base/cgroups.ts'

/** Memory limits of process trees, by the best means that this machine lets us use. */
export interface Limits {
  readonly kind: 'cgroup2' | 'cgroup1' | 'rlimit'
  /** Puts a just started process and all that it starts under a limit. Never rejects: RLIMIT_DATA, set at its start, holds each process anyway. */
  place(volume: string, pid: number, bytes: number): Promise<void>
  /** All processes placed for the volume that still live; null where the means does not know. */
  members(volume: string): number[] | null
  /** Takes the group of an ended process tree away; false while something in it still ends. */
  release(volume: string): boolean
  close(): void
}

const attempt = (step: () => void): boolean => {
  try {
    step()
    return true
  } catch {
    return false
  }
}

const rlimit: Limits = { kind: 'rlimit', place: async () => {}, members: () => null, release: () => true, close: () => {} }

/** `hash` tells the groups of one data directory from another's. `only` is for tests: pretend that nothing better exists. */
export function openLimits(hash: string, only?: Limits['kind']): Limits {
  if (only === 'rlimit') return rlimit
  const groups = memoryGroups()
  const own = (kind: MemoryGroup['kind']) =>
    only === undefined || only === kind ? ownGroup(groups.find((one) => one.kind === kind)) : null
  return unified(hash, own('cgroup2')) ?? legacy(hash, own('cgroup1')) ?? rlimit
}

/** That we may write in. */
const ownGroup = (group: MemoryGroup | undefined): string | null =>
  group?.dirs.find((dir) => attempt(() => accessSync(dir, constants.W_OK))) ?? null

const legacy = (hash: string, own: string | null): Limits | null =>
  own ? groups('cgroup1', join(own, `sovrabase-${hash}`), ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']) : null

/** A group with processes cannot give controllers to its children: we move into a leaf of our own first, and back if that was not enough. */
function unified(hash: string, own: string | null): Limits | null {
  if (!own || !readOr(join(own, 'cgroup.controllers'), '').includes('memory')) return null
  const top = join(own, `sovrabase-${hash}`)
  const enable = (dir: string) => attempt(() => writeFileSync(join(dir, 'cgroup.subtree_control'), '+memory'))
  if (!enable(own)) {
    const leaf = join(own, `sovrabase-server-${hash}`)
    attempt(() => mkdirSync(leaf))
    const moved = attempt(() => writeFileSync(join(leaf, 'cgroup.procs'), String(process.pid))) && enable(own)
    if (!moved) {
      attempt(() => writeFileSync(join(own, 'cgroup.procs'), String(process.pid)))
      attempt(() => rmdirSync(leaf))
      return null
    }
  }
  attempt(() => mkdirSync(top))
  return enable(top) ? groups('cgroup2', top, ['memory.max', 'memory.swap.max']) : null
}

function groups(kind: 'cgroup1' | 'cgroup2', top: string, [memory, swap]: [string, string]): Limits | null {
  const dir = (volume: string) => join(top, `v-${volume}`)
  const clear = () =>
    attempt(() =>
      readdirSync(top)
        .filter((name) => name.startsWith('v-'))
        .map((name) => attempt(() => rmdirSync(join(top, name)))),
    )
  const write = (group: string, bytes: number) => {
    if (kind === 'cgroup1') attempt(() => writeFileSync(join(group, swap), '-1'))
    writeFileSync(join(group, memory), String(bytes))
    // Together with swap on v1, swap alone on v2; a kernel without swap accounting has neither file.
    attempt(() => writeFileSync(join(group, swap), kind === 'cgroup2' ? '0' : String(bytes)))
  }
  const usable = attempt(() => {
    mkdirSync(top, { recursive: true })
    mkdirSync(join(top, 'v-'), { recursive: true })
    write(join(top, 'v-'), 1 << 30)
    rmdirSync(join(top, 'v-'))
  })
  if (!usable) return null
  clear()
  return {
    kind,
    async place(volume, pid, bytes) {
      const ready = attempt(() => {
        mkdirSync(dir(volume), { recursive: true })
        write(dir(volume), bytes)
      })
      // The kernel takes some 10 ms to move a process: it starts meanwhile, and what it has forked by then is moved after it.
      const move = (one: string) => writeFile(join(dir(volume), 'cgroup.procs'), one).catch(() => {})
      if (ready) await move(String(pid))
      for (const child of readOr(`/proc/${pid}/task/${pid}/children`, '').split(' ').filter(Boolean)) if (ready) await move(child)
    },
    members: (volume) =>
      readOr(join(dir(volume), 'cgroup.procs'), '')
        .trim()
        .split('\n')
        .filter(Boolean)
        .map(Number),
    release: (volume) => attempt(() => rmdirSync(dir(volume))) || readOr(join(dir(volume), 'cgroup.procs'), '') === '',
    close() {
      clear()
      attempt(() => rmdirSync(top))
    },
  }
}
