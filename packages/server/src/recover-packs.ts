import { join } from 'node:path'
import { accessOf } from './backup-fetch.ts'
import { isSovraError } from './base/errors.ts'
import type { Log } from './base/log.ts'
import { directoryStore } from './base/objects/directory.ts'
import { makeStoreOutbounds } from './base/objects/outbound.ts'
import { placeOf } from './base/objects/place.ts'
import { s3Store } from './base/objects/s3.ts'
import { type ObjectStore, within } from './base/objects/store.ts'
import type { Config } from './config.ts'
import { incarnationOf } from './runtime/archive/incarnation.ts'
import { Packs } from './runtime/cold/packs.ts'

export interface ReachablePacks {
  readonly packs: Packs
  /** Volumes that lie where this could not look; only with `continueOnError`. */
  readonly unreached: readonly string[]
  close(): Promise<void>
}

interface Wanted {
  readonly config: Config
  readonly dataDir: string
  /** On the disk. */
  readonly volumes: readonly string[]
  /** Of services that have data. */
  readonly made: readonly string[]
  readonly continueOnError: boolean
  readonly log: Log
}

/**
 * Packs of a server whose root key is lost. The credentials of its store are lost with it: those of the environment are used, and asked for only
 * where something is missing without. `store_keys_missing`, `store_failed`, `store_denied`.
 */
export async function reachPacks({ config, dataDir, volumes, made, continueOnError, log }: Wanted): Promise<ReachablePacks> {
  const dir = join(dataDir, 'cold')
  const { allow, ca_file: caFile, proxy } = config.network
  const { place } = config.disk.cold
  const local = new Packs({ dir, remote: null })
  await local.list(volumes)
  const missing = made.filter((volume) => !volumes.includes(volume) && local.sizeOf(volume) === undefined)
  if (place === null || missing.length === 0) return { packs: local, unreached: [], close: async () => {} }
  const outbounds = makeStoreOutbounds({ allow, caFile, proxy })
  const close = async () => void (await Promise.all([outbounds.outbound.close(), outbounds.trusted.close()]))
  const remote = async (): Promise<ObjectStore> => {
    const at = placeOf(place)
    const store =
      at.kind === 'directory'
        ? directoryStore(at.dir)
        : s3Store({ bucket: at.bucket, prefix: at.prefix, access: accessOf(place, process.env), outbound: outbounds.trusted })
    return within(store, `cold-${incarnationOf(dataDir)}`)
  }
  try {
    const packs = new Packs({ dir, remote })
    await packs.list(volumes)
    return { packs, unreached: [], close }
  } catch (error) {
    await close()
    if (!continueOnError || !isSovraError(error)) throw error
    log.error({ err: error, place }, 'packed projects cannot be reached')
    return { packs: local, unreached: missing, close: async () => {} }
  }
}
