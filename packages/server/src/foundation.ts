import { hostname } from 'node:os'
import { join } from 'node:path'
import { fail, isSovraError } from './base/errors.ts'
import { type Bus, makeBus } from './base/events.ts'
import { randomToken } from './base/ids.ts'
import { makeQueue, type Queue } from './base/jobs.ts'
import { addressKeeper, type KeepAddress } from './base/kept-address.ts'
import type { Log } from './base/log.ts'
import { secretFile } from './base/secret-files.ts'
import { checkRootKey, loadSecrets, type Secrets } from './base/secrets.ts'
import type { Config } from './config.ts'
import { type Changer, makeChanger } from './metadata/change.ts'
import { copyOut } from './metadata/copy-out.ts'
import { getFact, setFact } from './metadata/facts.ts'
import { type Metadata, type MetadataConfig, metadataOptions, type OpenOptions, openMetadata } from './metadata/open.ts'
import { rehearseMigrations } from './metadata/rehearse.ts'
import { ROOT_KEY } from './metadata/reseal.ts'
import { beforeLabel, putBackSnapshot, snapshotBeforeMigrations, snapshotMetadata } from './metadata/snapshot.ts'

/** Metadata, secrets, events and jobs: what everything else stands on. */
export interface Foundation {
  readonly metadata: Metadata
  readonly secrets: Secrets
  readonly bus: Bus
  readonly queue: Queue
  readonly change: Changer
  /** How much of an address is written down. */
  readonly keepAddress: KeepAddress
  readonly nodeName: string
  /** Password of fresh templates' superuser until their first start. */
  readonly bootstrap: string
}

/** Of the seat: the data directory, and whether it has projects already. */
interface Place {
  readonly dataDir: string
  readonly used: boolean
}

async function openSecrets(config: Config, metadata: Metadata, { dataDir, used }: Place): Promise<Secrets> {
  const folder = join(dataDir, 'keys')
  const known = (await getFact<string>(metadata.kysely, ROOT_KEY)) ?? null
  if (known === null && used) throw fail('metadata_lost', { dir: dataDir })
  const secrets = loadSecrets({
    folder,
    jwtSecret: config.jwt.secret,
    dataExists: known !== null || used,
    knownKeyId: known,
  })
  const recorded = await metadata.transaction(async (trx) => {
    const now = await getFact<string>(trx, ROOT_KEY)
    // A former one stays on record until all is sealed with the new one: see metadata/reseal.ts.
    if (now === undefined) await setFact(trx, ROOT_KEY, secrets.vault.keyId)
    return now ?? secrets.vault.keyId
  })
  checkRootKey(secrets, recorded, folder)
  return secrets
}

const label = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40) || 'node'

/**
 * A SQLite file is copied before its schema changes, and put back when a change fails: the former version starts on it as if nothing had been.
 * Of a database server's such a copy is kept too; PostgreSQL takes a change that fails back by itself, on MariaDB what was done stays.
 */
async function bringForward(where: MetadataConfig, config: Config, log: Log): Promise<Metadata> {
  const at = metadataOptions(where)
  const snapshots = { dir: join(where.data.dir, 'snapshots'), keep: Math.max(1, config.backup.snapshots) }
  const tell = (file: string) => log.info({ file }, 'kept a copy of the metadata before its schema changes')
  if (at.type !== 'sqlite' || at.file === ':memory:') {
    const before: OpenOptions['before'] = async (metadata, migration) =>
      tell(await snapshotMetadata((to) => copyOut(metadata, to), { ...snapshots, label: beforeLabel(migration) }))
    return openMetadata(where, { log, before })
  }
  const kept = await snapshotBeforeMigrations(at.file, snapshots)
  if (kept) tell(kept)
  try {
    return await openMetadata(where, { log })
  } catch (error) {
    if (kept && isSovraError(error, 'migration_failed')) {
      await putBackSnapshot(at.file, kept)
      log.error({ file: kept }, 'the metadata is as it was before: the former version starts on it')
    }
    throw error
  }
}

/**
 * For a server that takes over from another, while that one serves. A SQLite file is brought forward as a copy: the change in earnest, and
 * its undoing, need the file to oneself. A database server is brought forward at once: what fails there leaves it to the former version,
 * which works with what the next one adds.
 */
export async function rehearse(config: Config, dataDir: string, log: Log): Promise<boolean> {
  const where = { database: config.database, data: { dir: dataDir } }
  const at = metadataOptions(where)
  if (at.type === 'sqlite' && at.file !== ':memory:') return rehearseMigrations(at.file, join(dataDir, 'snapshots'))
  await (await bringForward(where, config, log)).close()
  return false
}

export async function lay(config: Config, place: Place, log: Log): Promise<Foundation> {
  const where = { database: config.database, data: { dir: place.dataDir } }
  const metadata = await bringForward(where, config, log)
  try {
    const secrets = await openSecrets(config, metadata, place)
    const keys = join(place.dataDir, 'keys')
    const nodeName =
      config.node.name ??
      secretFile(
        join(keys, 'node.name'),
        () =>
          `${label(hostname())}-${randomToken(3)
            .toLowerCase()
            .replace(/[^a-z0-9]/g, 'x')}`,
      ).text
    const bootstrap = secretFile(join(keys, 'template.key'), () => randomToken(32)).text
    const bus = makeBus(metadata, { log })
    const queue = makeQueue(metadata.kysely, { log, node: nodeName })
    const keepAddress = addressKeeper(config.log.addresses)
    const change = makeChanger(metadata, { bus, queue, keepAddress })
    return { metadata, secrets, bus, queue, change, keepAddress, nodeName, bootstrap }
  } catch (error) {
    await metadata.close().catch(() => {})
    throw error
  }
}
