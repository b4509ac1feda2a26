import { readFileSync } from 'node:fs'
import { claimSlot } from './claims.ts'

/** Under which uids (gid = uid, no account needed) the server and the projects' processes run. */
export interface Accounts {
  readonly isolation: 'full' | 'same-user'
  /** null: this process is not root, everything runs under its own uid. */
  readonly server: number | null
  /** Uids for volumes: one each, or one for all where `count` is 1. */
  readonly projects: { readonly first: number; readonly count: number } | null
}

interface Range {
  first: number
  end: number
}

// Tried in this order: above what systemd gives to containers and below 2^31; what a rootless container of 65,536 uids has, below nobody
// (65534); whatever there is.
const PREFERRED: readonly Range[] = [
  { first: 1_900_000_000, end: 2_147_000_000 },
  { first: 20_000, end: 60_000 },
  { first: 1_000, end: 2 ** 32 - 2 },
]
const ENOUGH = 1_000
/** Uids of one data directory: two on one machine share none, since a uid says whose files and processes they are. */
const MOST = 100_000
const SLOTS = 8

/** Answers which of the `count` ranges of `width` uids from `first` on is this data directory's. */
export type Chooser = (slots: { readonly first: number; readonly width: number; readonly count: number }) => number

/** Lines of /proc/<pid>/uid_map: `inside outside count`. */
function parse(map: string): Range[] {
  return map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter((parts) => parts.length === 3)
    .map(([first = 0, , count = 0]) => ({ first, end: first + count }))
}

const cut = (a: Range, b: Range): Range => ({ first: Math.max(a.first, b.first), end: Math.min(a.end, b.end) })
const size = (range: Range): number => Math.max(0, range.end - range.first)

/**
 * Accounts for this process. `nested`: root, but no other uid is mapped: PostgreSQL refuses to run, the caller has to change its user namespace.
 * @param uid effective uid; `uidMap` and `gidMap` as in /proc/self.
 */
export function chooseAccounts(uid: number, uidMap: string, gidMap: string, choose: Chooser = () => 0): Accounts | 'nested' {
  if (uid !== 0) return { isolation: 'same-user', server: null, projects: null }
  const groups = parse(gidMap)
  const mapped = parse(uidMap).flatMap((range) => groups.map((group) => cut(range, group)).filter((both) => size(both) > 0))
  for (const wish of PREFERRED) {
    const found = mapped.map((range) => cut(range, wish)).find((range) => size(range) > ENOUGH)
    if (!found) continue
    const width = Math.min(MOST, Math.max(ENOUGH, Math.floor(size(found) / SLOTS)))
    const first = found.first + width * choose({ first: found.first, width, count: Math.floor(size(found) / width) })
    return { isolation: 'full', server: first, projects: { first: first + 1, count: width - 1 } }
  }
  const highest = mapped
    .flatMap((range) => [range.end - 1, range.end - 2].filter((one) => one >= range.first && one > 0))
    .sort((a, b) => b - a)
  const [project, server = project] = highest
  if (project === undefined || server === undefined) return 'nested'
  return { isolation: 'same-user', server, projects: { first: project, count: 1 } }
}

/** Of this process, for this data directory (its real path). */
export function ownAccounts(data: string): Accounts | 'nested' {
  const [uidMap = '', gidMap = ''] = ['uid', 'gid'].map((kind) => readFileSync(`/proc/self/${kind}_map`, 'utf8'))
  return chooseAccounts(process.geteuid?.() ?? 0, uidMap, gidMap, (slots) => claimSlot(data, slots))
}

/** Hands out the uids of volumes; what is in use is read from the directories' owners. */
export function uidPool(projects: { readonly first: number; readonly count: number }, used: Iterable<number>) {
  const taken = new Set(used)
  const inRange = (uid: number) => uid >= projects.first && uid < projects.first + projects.count
  let next = Math.max(projects.first, ...[...taken].filter(inRange).map((uid) => uid + 1))
  return {
    /** May a volume with this owner keep it? */
    fits: (uid: number): boolean => inRange(uid),
    take(): number {
      if (projects.count === 1) return projects.first
      for (let tries = 0; tries < projects.count; tries++) {
        if (next >= projects.first + projects.count) next = projects.first
        const uid = next++
        if (taken.has(uid)) continue
        taken.add(uid)
        return uid
      }
      return projects.first
    },
    free(uid: number): void {
      taken.delete(uid)
    },
  }
}
export type UidPool = ReturnType<typeof uidPool>
