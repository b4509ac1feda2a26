import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** Start time of a process in clock ticks since boot; null when there is none (a zombie counts as none). With the pid it names one process for good. */
export function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null)
  } catch {
    return null
  }
}

/**
 * Processes of these programs that work in this directory (a postmaster and its children do; a person's shell in it is none of them). With a
 * uid of its own that uid tells, and needs no right to look. `below`: in directories of it, too.
 */
export function processesOf(dir: string, uid: number | null, programs: readonly string[], below = false): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        if (uid !== null) return statSync(`/proc/${pid}`).uid === uid && startTime(pid) !== null
        const at = readlinkSync(`/proc/${pid}/cwd`)
        if (at !== dir && !(below && at.startsWith(`${dir}/`))) return false
        return programs.includes(basename(readlinkSync(`/proc/${pid}/exe`)).replace(' (deleted)', '')) && startTime(pid) !== null
      } catch {
        return false
      }
    })
}

/** Bytes of its memory, shared pages by their part; 0 when it is gone or may not be looked at. */
export function proportionalSize(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended meanwhile: what was wanted.
  }
}

const PATIENCE = 10_000

/** SIGKILL to all that `find` answers until it answers none. */
export async function killAll(find: () => number[]): Promise<void> {
  const end = Date.now() + PATIENCE
  for (let left = find(); left.length > 0 && Date.now() < end; left = find()) {
    for (const pid of left) kill(pid, 'SIGKILL')
    await pause(5)
  }
}
