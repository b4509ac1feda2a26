import { statSync } from 'node:fs'
import { upgradeStore } from '../../runtime/upgrade/store.ts'
import type { Control } from '../context.ts'

export interface ProjectUse {
  readonly ref: string
  readonly name: string
  readonly organisation: string
  readonly state: 'active' | 'deleted'
  /** RFC 3339; when what is deleted goes. */
  readonly purge_at: string | null
  /** Has slept for long. */
  readonly packed: boolean
  /** Bytes: all of it, and of that the write-ahead log; the log of its processes and what is kept of a former major lie elsewhere. */
  readonly bytes: { readonly total: number; readonly wal: number; readonly log: number; readonly kept: number }
}

/** Directory of the write-ahead log, by engine. */
const WAL: Readonly<Record<string, string>> = { postgres: 'pg_wal' }
/** Volumes that are measured at once: each walks a thousand files. */
const AT_ONCE = 4
const NOTHING = { total: 0, wal: 0, log: 0, kept: 0 }

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch {
    return 0
  }
}

/** SQLite's file with its log; 0 where a server of its own has the metadata. */
export const metadataBytes = ({ backup: { metadataFile } }: Control): number =>
  metadataFile === null ? 0 : ['', '-wal', '-shm'].reduce((sum, end) => sum + sizeOf(`${metadataFile}${end}`), 0)

async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const left = items.entries()
  const worker = async () => {
    for (const [index, item] of left) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}

/** What each project's services of this node take on disk, the largest first; and volumes that belong to none. */
export async function diskUse(control: Control): Promise<{ projects: ProjectUse[]; orphans: { volume: string; bytes: number }[] }> {
  const rows = await control.db
    .selectFrom('projects')
    .innerJoin('organisations', 'organisations.id', 'projects.organisation_id')
    .select(['projects.ref', 'projects.name', 'projects.state', 'projects.purge_at', 'organisations.name as organisation'])
    .execute()
  const services = await control.services.list(control.db, {})
  const upgrades = (await upgradeStore.list(control.db)).filter(({ volume }) => volume !== '')
  const measured = await inTurns(services, async ({ id, project, driver, engine, volume }) => {
    // One that was never made, or lies on another node, takes nothing here.
    const found = await control.drivers.get(driver)?.usage?.(volume)
    const wal = found?.parts[WAL[engine] ?? ''] ?? 0
    const other = upgrades.find(({ service }) => service === id)?.volume
    const kept = other === undefined ? 0 : ((await control.drivers.get(driver)?.usage?.(other))?.total ?? 0)
    const packed = control.drivers.get(driver)?.packed?.().has(volume) ?? false
    return { project, packed, bytes: found ? { total: found.total, wal, log: found.log, kept } : { ...NOTHING, kept } }
  })
  const projects = rows.map(({ ref, name, state, purge_at, organisation }) => {
    const own = measured.filter(({ project }) => project === ref)
    const sum = (kind: keyof typeof NOTHING) => own.reduce((all, { bytes }) => all + bytes[kind], 0)
    return {
      ref,
      name,
      organisation,
      state: state === 'deleted' ? ('deleted' as const) : ('active' as const),
      purge_at: purge_at === null ? null : new Date(purge_at).toISOString(),
      packed: own.some((one) => one.packed),
      bytes: { total: sum('total'), wal: sum('wal'), log: sum('log'), kept: sum('kept') },
    }
  })
  projects.sort((a, b) => b.bytes.total - a.bytes.total)
  return { projects, orphans: await orphansOf(control, new Set([...services, ...upgrades].map(({ volume }) => volume))) }
}

async function orphansOf({ drivers }: Control, known: ReadonlySet<string>): Promise<{ volume: string; bytes: number }[]> {
  const found: { volume: string; bytes: number }[] = []
  for (const driver of drivers.values()) {
    const volumes = (await driver.volumes?.()) ?? []
    for (const volume of volumes.filter((name) => !known.has(name) && !name.startsWith('build-')))
      found.push({ volume, bytes: (await driver.usage?.(volume))?.total ?? 0 })
  }
  return found
}
