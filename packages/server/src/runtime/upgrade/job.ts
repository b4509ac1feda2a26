import type { NewJob } from '../../base/jobs.ts'

/** Where a service's data lies, only that node can do anything about it. */
export const upgradeKind = (node: string): string => `upgrade.${node}`

export const upgradeJob = (service: { readonly id: string; readonly node: string | null }): NewJob => ({
  kind: upgradeKind(service.node ?? ''),
  key: service.id,
})

const OWN = /-v\d+-[0-9a-f]{8}$/

/** Volumes are named by the service; those of a later version by that too, and by the run that made them: no two work on the same one. */
export const upgradedVolume = (volume: string, to: string, run: string): string =>
  `${volume.replace(OWN, '')}-v${Number.parseInt(to, 10)}-${run.replaceAll('-', '').slice(-8)}`

/** What it is called while nobody else knows of it. */
export const trialId = (service: string): string => `upgrade/${service}`

const MIB = 1 << 20
/** What a new cluster takes beside the data. */
const MARGIN = 96 * MIB
/** A packed volume grows by about so much. */
const PACKED = 8

interface Room {
  /** Bytes of the volume; undefined: unknown. */
  readonly used: number | undefined
  readonly packed: boolean
  readonly space: { readonly free: number; readonly reserve: number }
}

/** MiB that are missing; null: there is room for a second copy beside the reserve. */
export function lackOf({ used = 0, packed, space }: Room): { need: number; free: number } | null {
  const need = used * (packed ? PACKED : 1) + MARGIN
  const free = space.free - space.reserve
  return need <= free ? null : { need: Math.ceil(need / MIB), free: Math.max(0, Math.floor(free / MIB)) }
}
