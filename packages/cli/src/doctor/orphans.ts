/** PostgreSQL processes that no server keeps: the kernel ends them with their server, so that one which is left is a finding. */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { bad, type Check, ok } from './check.ts'
import { t } from './words.ts'

interface Process {
  readonly pid: number
  readonly parent: number
}

/** Working directory and parent; null: not ours to see, or gone. */
function read(pid: number): (Process & { readonly directory: string }) | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state === 'Z' || state === 'X') return null
    return { pid, parent: Number(parent), directory: readlinkSync(`/proc/${pid}/cwd`) }
  } catch {
    return null
  }
}

/** The first process of each cluster below the directory that does not descend from the server. */
function orphansOf(dataDir: string, server: number | null): Process[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const all = new Map(pids.flatMap((name) => read(Number(name)) ?? []).map((one) => [one.pid, one]))
  const below = `${join(realpathSync(dataDir), 'projects')}/`
  const clusters = [...all.values()].filter(({ directory }) => directory.startsWith(below))
  const first = clusters.filter(({ parent }) => !all.get(parent)?.directory.startsWith(below))
  const kept = (pid: number): boolean => pid === server || (pid > 1 && kept(all.get(pid)?.parent ?? 0))
  return first.filter(({ pid }) => !kept(pid))
}

export function orphanedProcesses(dataDir: string, server: number | null): Check {
  const orphans = orphansOf(dataDir, server)
  if (orphans.length === 0) return ok('processes', t(server === null ? 'no processes' : 'own processes'))
  const pids = orphans.map(({ pid }) => pid).join(' ')
  return bad('processes', t('orphans run', { count: orphans.length, pids }), t('end orphans', { pids }))
}
