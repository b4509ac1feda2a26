/** What the kernel says of process trees: CPU, memory. Linux only. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** USER_HZ is 100 on every Linux. */
const TICK_US = 10_000
const MIB_KB = 1024

interface Stat {
  readonly pid: number
  readonly parent: number
  /** utime + stime. */
  readonly own: number
  /** Of children that ended and were waited for. */
  readonly reaped: number
}

function statOf(pid: number | string): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text
      .slice(text.lastIndexOf(') ') + 2)
      .split(' ')
      .map(Number)
    return { pid: Number(pid), parent: fields[1]!, own: fields[11]! + fields[12]!, reaped: fields[13]! + fields[14]! }
  } catch {
    return null
  }
}

/** All processes below `root` and itself. */
function tree(root: number): Stat[] {
  const children = new Map<number, Stat[]>()
  const found: Stat[] = []
  for (const entry of readdirSync('/proc')) {
    const stat = /^\d+$/.test(entry) ? statOf(entry) : null
    if (stat === null) continue
    if (stat.pid === root) found.push(stat)
    const siblings = children.get(stat.parent)
    if (siblings) siblings.push(stat)
    else children.set(stat.parent, [stat])
  }
  for (let i = 0; i < found.length; i++) found.push(...(children.get(found[i]!.pid) ?? []))
  return found
}

export const pidsOf = (root: number): number[] => tree(root).map((stat) => stat.pid)

/** CPU µs that the whole tree has used until now, those of its members that ended included. */
export const cpuOfTree = (root: number): number => tree(root).reduce((sum, stat) => sum + stat.own + stat.reaped, 0) * TICK_US

/** CPU µs of the children of a process that ended and were waited for. */
export const reapedBy = (pid: number): number => (statOf(pid)?.reaped ?? 0) * TICK_US

export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/^.*\//, '')
  } catch {
    return ''
  }
}

/** Processes of the tree that run the PostgreSQL server. */
export const postgresOf = (root: number): number[] => pidsOf(root).filter((pid) => programOf(pid) === 'postgres')

/** Main processes of clusters: those whose parent is no postgres. */
export function postmastersOf(root: number): number[] {
  const all = new Set(postgresOf(root))
  return [...all].filter((pid) => !all.has(statOf(pid)?.parent ?? 0))
}

function memory(pid: number, file: 'smaps_rollup' | 'status', name: string): number {
  try {
    const text = readFileSync(`/proc/${pid}/${file}`, 'utf8')
    return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / MIB_KB
  } catch {
    return 0
  }
}

/** MiB of these processes, shared pages divided among those that share them. */
export const pssOf = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + memory(pid, 'smaps_rollup', 'Pss'), 0)

/** MiB resident. */
export const rssOf = (pid: number): number => memory(pid, 'status', 'VmRSS')
