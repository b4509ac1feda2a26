/** What runs on this machine, as /proc says. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

export interface Running {
  readonly pid: number
  readonly parent: number
  readonly uid: number
  readonly command: string
  readonly directory: string
  /** Ticks since boot: pids are used again. */
  readonly since: string
}

function read(pid: number): Running | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return {
      pid,
      parent: Number(fields[1]),
      uid: statSync(`/proc/${pid}`).uid,
      command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
      directory: readlinkSync(`/proc/${pid}/cwd`),
      since: fields[19] ?? '',
    }
  } catch {
    return undefined
  }
}

export const everything = (): Running[] => readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (read(Number(name)) ?? []) : []))

/** Processes of clusters below a data directory: PostgreSQL works in its own. */
export const clusterProcesses = (dataDir: string): Running[] =>
  everything().filter((running) => running.directory.startsWith(`${dataDir}/`))

/** The first process of each cluster below a data directory. */
export function postmasters(dataDir: string): Running[] {
  const all = clusterProcesses(dataDir)
  const pids = new Set(all.map((running) => running.pid))
  return all.filter((running) => !pids.has(running.parent))
}

/** A process and all that it has started. */
export function family(pid: number): Running[] {
  const all = everything()
  const found = new Set([pid])
  for (let grown = true; grown; ) {
    grown = false
    for (const running of all) {
      if (found.has(running.pid) || !found.has(running.parent)) continue
      found.add(running.pid)
      grown = true
    }
  }
  return all.filter((running) => found.has(running.pid))
}

/** Those of them that are still there. */
export const alive = (those: readonly Running[]): Running[] => those.filter(({ pid, since }) => read(pid)?.since === since)
