import { type ObjectStore, within } from '../../base/objects/store.ts'
import { type BaseRecord, baseKey, basesOf, type LogObject, lineageFolder, lineageNames, logOf, positionOf } from './layout.ts'

/** Wholes and what builds on them, oldest first: a base of changes is of no use without those before it. */
function chains(bases: readonly BaseRecord[]): BaseRecord[][] {
  const found: BaseRecord[][] = []
  for (const base of bases) {
    const chain = base.parent === null ? undefined : found.find((one) => one.some(({ id }) => id === base.parent))
    if (chain) chain.push(base)
    else found.push([base])
  }
  return found
}

/** The oldest base that some moment after the horizon needs; undefined: all may go. */
function oldestKept(bases: readonly BaseRecord[], horizon: number): BaseRecord | undefined {
  const before = bases.filter(({ ended_at }) => ended_at <= horizon).at(-1)
  const needed = before ?? bases[0]
  const chain = chains(bases).find((one) => one.some(({ id }) => id === needed?.id))
  return chain?.[0] ?? needed
}

async function removeBase(lineage: ObjectStore, { id }: BaseRecord): Promise<void> {
  // Its record first: without it nobody counts on the rest.
  for (const part of ['json', 'manifest.zst', 'tar.zst'] as const) await lineage.remove(baseKey(id, part))
}

async function pruneLineage(lineage: ObjectStore, bases: readonly BaseRecord[], kept: BaseRecord | undefined): Promise<number> {
  let removed = 0
  for (const base of bases) {
    if (kept && base.id >= kept.id) break
    await removeBase(lineage, base)
    removed++
  }
  let held: LogObject | undefined
  for await (const object of logOf(lineage)) {
    // Of no use is what ends before the oldest base begins: what begins after it tells.
    if (held && (!kept || object.start <= positionOf(kept.start) - (positionOf(kept.start) % BigInt(kept.segment)))) {
      await lineage.remove(held.key)
      removed++
    }
    held = object
  }
  if (held && !kept) {
    await lineage.remove(held.key)
    removed++
  }
  return removed
}

/** When the last of it came. */
async function lastOf(lineage: ObjectStore, bases: readonly BaseRecord[]): Promise<number> {
  let last = bases.at(-1)?.ended_at ?? 0
  for await (const { at } of logOf(lineage)) last = Math.max(last, at)
  return last
}

/** Removes what no moment after the horizon needs; answers how many objects. `over`: nothing comes any more, so that in the end all of it goes. */
export async function pruneProject(store: ObjectStore, ref: string, horizon: number, over: boolean): Promise<number> {
  let removed = 0
  const lineages = await Promise.all(
    (await lineageNames(store, ref)).map(async (name) => {
      const lineage = within(store, lineageFolder(ref, name))
      return { lineage, bases: await basesOf(lineage) }
    }),
  )
  lineages.sort((a, b) => (a.bases[0]?.ended_at ?? Number.POSITIVE_INFINITY) - (b.bases[0]?.ended_at ?? Number.POSITIVE_INFINITY))
  for (const [index, { lineage, bases }] of lineages.entries()) {
    // One whose first base is not there yet has nothing to lose.
    if (bases.length === 0) continue
    const followedBy = lineages[index + 1]?.bases[0]
    const gone = followedBy ? followedBy.ended_at <= horizon : over && (await lastOf(lineage, bases)) < horizon
    removed += await pruneLineage(lineage, bases, gone ? undefined : oldestKept(bases, horizon))
  }
  return removed
}
