import { fail } from '../../base/errors.ts'
import { type ObjectStore, within } from '../../base/objects/store.ts'
import type { Position } from '../history.ts'
import { type BaseRecord, basesOf, hex, type LogObject, lineageFolder, lineageNames, logOf, positionOf } from './layout.ts'

export interface RestorePlan {
  readonly lineage: ObjectStore
  /** The base and those that it builds on, the whole one first. */
  readonly chain: readonly BaseRecord[]
  readonly log: readonly LogObject[]
  /** The log goes on after that. */
  readonly more: boolean
  readonly time: number
}

interface Lineage {
  readonly store: ObjectStore
  readonly bases: readonly BaseRecord[]
}

export interface Range {
  readonly from: number
  /** When the last of its log came; null: it goes on, or nothing came since. */
  readonly to: number | null
}

const text = (at: number): string => new Date(at).toISOString()

async function lineagesOf(store: ObjectStore, ref: string): Promise<Lineage[]> {
  const found: Lineage[] = []
  for (const name of await lineageNames(store, ref)) {
    const lineage = within(store, lineageFolder(ref, name))
    const bases = await basesOf(lineage)
    if (bases.length > 0) found.push({ store: lineage, bases })
  }
  return found.sort((a, b) => a.bases[0]!.ended_at - b.bases[0]!.ended_at)
}

/** From when to when a project can be restored; empty: there is no base yet. */
export async function rangesOf(store: ObjectStore, ref: string): Promise<Range[]> {
  const lineages = await lineagesOf(store, ref)
  return lineages.map(({ bases }, index) => ({ from: bases[0]!.ended_at, to: lineages[index + 1]?.bases[0]?.ended_at ?? null }))
}

/** Base and log that bring a project to a moment (ms). `all`: all of the log, where less did not reach. `archive_off`, `archive_time_outside`, `archive_gap`. */
export async function planRestore(store: ObjectStore, ref: string, time: number, all = false): Promise<RestorePlan> {
  const lineages = await lineagesOf(store, ref)
  if (lineages.length === 0) throw fail('archive_off', { ref })
  const lineage = lineages.findLast(({ bases }) => bases[0]!.ended_at <= time)
  if (!lineage) {
    const ranges = (await rangesOf(store, ref)).map(({ from, to }) => `${text(from)} – ${text(to ?? Date.now())}`).join(', ')
    throw fail('archive_time_outside', { time: text(time), ranges })
  }
  const base = lineage.bases.findLast(({ ended_at }) => ended_at <= time)!
  const chain = chainOf(lineage, base)
  return { lineage: lineage.store, chain, time, ...(await logFor(lineage.store, base, all ? Number.POSITIVE_INFINITY : time)) }
}

function chainOf({ store, bases }: Lineage, base: BaseRecord): BaseRecord[] {
  const chain = [base]
  for (let one = base; one.parent !== null; ) {
    const parent = bases.find(({ id }) => id === one.parent)
    if (!parent) throw fail('archive_damaged', { place: store.place, key: `base/${one.parent}`, reason: 'it is not there' })
    chain.unshift(parent)
    one = parent
  }
  return chain
}

/** Where the base's log begins: at the beginning of a file. */
export const logStart = ({ start, segment }: BaseRecord): Position => positionOf(start) - (positionOf(start) % BigInt(segment))

async function logFor(lineage: ObjectStore, base: BaseRecord, time: number): Promise<Pick<RestorePlan, 'log' | 'more'>> {
  const from = logStart(base)
  const log: LogObject[] = []
  let more = false
  for await (const object of logOf(lineage)) {
    if (object.timeline !== base.timeline) continue
    if (object.start <= from) log.length = 0
    const last = log.at(-1)
    // What is first seen after the moment can hold what was committed before it: one such is taken, and told whether there are more.
    if (last && last.at > time && last.start > positionOf(base.stop)) {
      more = true
      break
    }
    log.push(object)
  }
  const first = log[0]
  if (!first || first.start > from) throw fail('archive_gap', { time: text(base.ended_at), lsn: hex(from) })
  return { log, more }
}
