import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { SECTIONS, type Section } from '@sovrabase/contract/settings'
import type { Kysely } from 'kysely'
import type { Vault } from './base/crypto.ts'
import { fail, isSovraError } from './base/errors.ts'
import { makeBus } from './base/events.ts'
import { randomToken } from './base/ids.ts'
import { makeQueue } from './base/jobs.ts'
import { type Log, makeLog } from './base/log.ts'
import { readSecretFile, secretFile } from './base/secret-files.ts'
import { loadSecrets, rootKeyFile } from './base/secrets.ts'
import { withShownPaths } from './base/start-error.ts'
import type { Config, LoadedConfig } from './config.ts'
import { type KeeperOptions, openSeat, type Seat } from './keeper.ts'
import { type Actor, type Change, makeChanger } from './metadata/change.ts'
import { copierOf } from './metadata/copy-out.ts'
import { getFact, setFact } from './metadata/facts.ts'
import { type Metadata, metadataOptions, openMetadata } from './metadata/open.ts'
import { ROOT_KEY } from './metadata/reseal.ts'
import { withoutSecrets } from './metadata/sealed.ts'
import { snapshotMetadata, stampOf } from './metadata/snapshot.ts'
import type { Tables } from './metadata/tables.ts'
import { postgresProgram } from './programs.ts'
import { createProjectKeys } from './realms/api-keys.ts'
import { reachPacks } from './recover-packs.ts'
import { withCold } from './runtime/cold/driver.ts'
import { embeddedDriver } from './runtime/drivers/embedded/driver.ts'
import { postgresEngine } from './runtime/engines/postgres/index.ts'
import { type Service, ServiceStore } from './runtime/services.ts'

/** What `sovra recover --without-root-key` has done. */
export interface Recovered {
  readonly key_id: string
  /** They have new API keys, signing keys and passwords; their rows are as they were. */
  readonly projects: readonly { readonly ref: string; readonly name: string; readonly state: string }[]
  /** Secrets that nobody can tell any more: they must be entered again. */
  readonly settings: readonly { readonly scope: string; readonly section: string; readonly secrets: readonly string[] }[]
  /** Volumes whose passwords could not be set; only with `continueOnError`. */
  readonly failed: readonly string[]
  /** A copy of the metadata as it was. */
  readonly snapshot: string
  /** The unusable root key that was there, under another name. */
  readonly former: string | null
}

const LOCAL: Actor = { id: 'local', kind: 'local', ip: null, requestId: null }
const SECRET_BYTES = 24
const LOST: ReadonlySet<string> = new Set(['root_key_missing', 'root_key_wrong', 'root_key_malformed', 'secret_file_unusable'])

const refused = (reason: string, hint: string) => fail('recover_refused', { reason, hint })

/** Only where the key is lost indeed: what has a key keeps its passwords. */
async function refuseWhereKeyIsThere(config: Config, metadata: Metadata, keys: string): Promise<void> {
  for (const name of ['SOVRABASE_ROOT_KEY', 'SOVRABASE_ROOT_KEY_FILE'])
    if (process.env[name]) throw refused(`${name} is set`, 'Take it away: the new key is made in the data directory.')
  const known = await getFact<string>(metadata.kysely, ROOT_KEY)
  if (known === undefined) throw refused('there is no data here', 'Start the server: it makes a root key by itself.')
  try {
    loadSecrets({ folder: keys, jwtSecret: config.jwt.secret, dataExists: true, knownKeyId: known })
  } catch (error) {
    if (isSovraError(error) && LOST.has(error.code)) return
    throw error
  }
  throw refused('the root key is there', 'Start the server. For a new one: sovra keys rotate-root')
}

/** Services belong to a node by its name: a lost one is what most of them say. */
async function keepNodeName(metadata: Metadata, keys: string): Promise<void> {
  const file = join(keys, 'node.name')
  if (readSecretFile(file) !== undefined) return
  const rows = await metadata.kysely
    .selectFrom('services')
    .select((eb) => ['node', eb.fn.countAll<number>().as('n')])
    .where('node', 'is not', null)
    .groupBy('node')
    .execute()
  const [most] = rows.sort((a, b) => Number(b.n) - Number(a.n))
  if (most?.node) secretFile(file, () => most.node!)
}

async function servicesOf(metadata: Metadata): Promise<Service[]> {
  // Secrets are not opened by lists: any key will do.
  const vault = { keyId: '', seal: () => '', open: () => '', isCurrent: () => true } satisfies Vault
  return (await new ServiceStore(vault).list(metadata.kysely, {})).filter(({ wanted }) => wanted !== 'deleted')
}

interface Resetting {
  readonly config: Config
  readonly seat: Seat
  readonly services: readonly Service[]
  readonly bootstrap: string
  readonly log: Log
  readonly continueOnError: boolean
}

/** Every volume that is there, packed ones too, gets the template's password, one after the other. Answers those that failed. */
async function resetClusters({ config, seat, services, bootstrap, log, continueOnError }: Resetting): Promise<string[]> {
  const { version, settings, others } = await postgresProgram(config, join(seat.dataDir, 'engines'))
  const { recovery, name } = postgresEngine({ version, bootstrap, log, settings, others: Object.keys(others).map(Number) })
  const embedded = embeddedDriver(seat.hands)
  const mine = services.filter(({ engine }) => engine === name)
  const made = mine.filter(({ observedVersion }) => observedVersion > 0).map(({ volume }) => volume)
  const volumes = (await embedded.volumes?.()) ?? []
  const { packs, unreached, close } = await reachPacks({ config, dataDir: seat.dataDir, volumes, made, continueOnError, log })
  const driver = withCold(embedded, packs, log)
  const nameOf = ({ project, volume }: Service) => project || volume
  const failed = mine.filter(({ volume }) => unreached.includes(volume)).map(nameOf)
  try {
    const there = new Set(await driver.volumes?.())
    for (const service of mine.filter(({ volume }) => there.has(volume))) {
      try {
        await recovery.reset(await driver.apply(recovery.workload(service)))
      } catch (error) {
        log.error({ err: error, project: service.project, volume: service.volume }, 'the password of a cluster could not be set')
        failed.push(nameOf(service))
      } finally {
        await driver.sleep(service.id)
      }
    }
    return failed
  } finally {
    await close()
  }
}

async function renewSecrets({ trx, now }: Change, vault: Vault): Promise<void> {
  const store = new ServiceStore(vault)
  const rows = await trx.selectFrom('service_secrets').select(['service_id', 'name']).execute()
  for (const { service_id, name } of rows) await store.setSecret(trx, service_id, name, randomToken(SECRET_BYTES), now)
}

async function renewKeys(change: Change, vault: Vault): Promise<Recovered['projects']> {
  await change.trx.deleteFrom('api_keys').execute()
  await change.trx.deleteFrom('realm_keys').execute()
  const projects = await change.trx.selectFrom('projects').select(['ref', 'name', 'state']).where('state', '!=', 'purged').execute()
  for (const { ref } of projects) await createProjectKeys(change, vault, ref, change.now, null)
  return projects
}

async function dropSettings({ trx, now }: Change): Promise<Recovered['settings']> {
  const lost: { scope: string; section: string; secrets: readonly string[] }[] = []
  const rows = await trx.selectFrom('settings').selectAll().where('json', 'like', '%"$sealed":"v1.%').execute()
  for (const { scope, section, json, version } of rows) {
    const { value, gone } = withoutSecrets(SECTIONS[section as Section], JSON.parse(json))
    const fresh = { json: JSON.stringify(value), version: version + 1, updated_at: now }
    await trx.updateTable('settings').set(fresh).where('scope', '=', scope).where('section', '=', section).execute()
    lost.push({ scope, section, secrets: gone })
  }
  return lost
}

async function renew(change: Change, vault: Vault): Promise<Pick<Recovered, 'projects' | 'settings'>> {
  await renewSecrets(change, vault)
  const projects = await renewKeys(change, vault)
  const settings = await dropSettings(change)
  await change.trx.deleteFrom('idempotent_answers').execute()
  await (change.trx as unknown as Kysely<Tables>).deleteFrom('facts').where('value', 'like', '"v1.%').execute()
  await setFact(change.trx, ROOT_KEY, vault.keyId, change.now)
  await change.event({ name: 'root_key.recovered', subject: vault.keyId, after: { projects: projects.length } })
  return { projects, settings }
}

interface Options {
  readonly continueOnError: boolean
}

async function recoverIn(config: Config, seat: Seat, log: Log, { continueOnError }: Options): Promise<Recovered> {
  const keys = join(seat.dataDir, 'keys')
  const where = { database: config.database, data: { dir: seat.dataDir } }
  const metadata = await openMetadata(where, { log })
  const bus = makeBus(metadata, { log })
  try {
    await refuseWhereKeyIsThere(config, metadata, keys)
    const at = metadataOptions(where)
    const snapshots = { dir: join(seat.dataDir, 'snapshots'), label: 'before-recover', keep: Math.max(1, config.backup.snapshots) }
    const snapshot = await snapshotMetadata(copierOf(metadata, at.type === 'sqlite' ? at.file : null), snapshots)
    await keepNodeName(metadata, keys)
    const bootstrap = secretFile(join(keys, 'template.key'), () => randomToken(32)).text
    const failed = await resetClusters({ config, seat, services: await servicesOf(metadata), bootstrap, log, continueOnError })
    if (failed.length > 0 && !continueOnError) throw fail('recover_stuck', { failed: failed.length, refs: failed.join(', ') })
    // The file first: killed here, the next run finds a key that is not on record, and makes another.
    const former = setAside(rootKeyFile(keys))
    const { vault } = loadSecrets({ folder: keys, env: {}, jwtSecret: config.jwt.secret, dataExists: false, knownKeyId: null })
    const change = makeChanger(metadata, { bus, queue: makeQueue(metadata.kysely, { log }) })
    const { projects, settings } = await change(LOCAL, (c) => renew(c, vault))
    const shown = (path: string) => path.replace(seat.dataDir, seat.shownDataDir)
    return { key_id: vault.keyId, projects, settings, failed, snapshot: shown(snapshot), former: former === null ? null : shown(former) }
  } finally {
    await bus.close()
    await metadata.close()
  }
}

function setAside(file: string): string | null {
  const aside = `${file}.unusable-${stampOf(Date.now())}`
  try {
    renameSync(file, aside)
    return aside
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw fail('secret_file_unusable', { file, reason: (error as NodeJS.ErrnoException).code ?? 'unknown' }, { cause: error })
  }
}

/**
 * Without its root key: a new one, with new passwords and keys for each project; rows are not touched. It holds the data directory as a
 * server does. Errors: `recover_refused`, `recover_stuck`, those of a start.
 */
export async function recover({ config }: LoadedConfig, keeper: KeeperOptions, options: Options): Promise<Recovered> {
  const seat = await openSeat(keeper)
  try {
    return await recoverIn(config, seat, makeLog({ level: 'warn', pretty: false, destination: process.stderr }), options)
  } catch (error) {
    throw withShownPaths(error, seat)
  } finally {
    await seat.close()
  }
}
