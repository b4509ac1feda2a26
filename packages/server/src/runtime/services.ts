import type { Insertable, Kysely, Selectable, Transaction } from 'kysely'
import type { Vault } from '../base/crypto.ts'
import { randomToken, uuid } from '../base/ids.ts'
import type { Services, Tables } from '../metadata/tables.ts'
import type { Engine } from './engine.ts'

/**
 * pending: written, nothing made yet. creating, waking, sleeping: on the way. degraded: runs, but its system schema could not be brought
 * forward. failed: did not start; tried again at the next request.
 */
export type ServiceStatus = 'pending' | 'creating' | 'asleep' | 'waking' | 'awake' | 'sleeping' | 'degraded' | 'failed' | 'deleted'

/** stopped: keeps its data but does not run (its project is deleted and may be restored). deleted: its data goes. */
export type Wanted = 'active' | 'stopped' | 'deleted'

/** One thing that a project runs, with a spec (wanted) and a status (seen). */
export interface Service<Spec = unknown> {
  readonly id: string
  /** The project's ref; '' for a prepared one that no project has claimed. */
  readonly project: string
  /** "db" */
  readonly name: string
  /** Data directory's name, relative to the node's data/projects. */
  readonly volume: string
  readonly engine: string
  readonly driver: string
  readonly region: string
  readonly node: string | null
  readonly spec: Spec
  readonly specVersion: number
  /** Version of the spec that the running service was made with. */
  readonly observedVersion: number
  readonly wanted: Wanted
  readonly status: ServiceStatus
  readonly detail: ServiceDetail
  /** Opened passwords of the service's own roles: name → text. */
  readonly secrets: Readonly<Record<string, string>>
  /** What a new volume is copied from (`create --from`); null: the engine's template. */
  readonly source: ServiceSource | null
  readonly engineVersion: string | null
  readonly systemVersion: number | null
  /** ms since the epoch: its statements are logged until then. */
  readonly statementsUntil?: number | null
}

export interface ServiceSource {
  readonly service: string
  readonly volume: string
  /** With rows, or the structure only. */
  readonly data: boolean
  /** As it was at this moment (ms), out of its archive. */
  readonly at?: number
}

/** Why a service is as it is. */
export interface ServiceDetail {
  readonly code?: string
  readonly message?: string
  readonly since?: number
}

export interface NewService {
  readonly project: string
  readonly name: string
  readonly engine: Engine
  readonly driver: string
  readonly region: string
  readonly node: string
  readonly spec: unknown
  readonly source?: ServiceSource | null
}

export type RestoredService = Pick<
  Service,
  'project' | 'name' | 'volume' | 'engine' | 'driver' | 'region' | 'node' | 'spec' | 'secrets' | 'engineVersion' | 'systemVersion'
>

type Row = Selectable<Services>
type Reader = Kysely<Tables> | Transaction<Tables>

const SECRET_BYTES = 24
/** As many may lose against others that claim at the same time. */
const CLAIM_TRIES = 10

function toService(row: Row, secrets: Record<string, string>): Service {
  return {
    id: row.id,
    project: row.project_ref,
    name: row.name,
    volume: row.volume,
    engine: row.engine,
    driver: row.driver,
    region: row.region,
    node: row.node,
    spec: JSON.parse(row.spec) as unknown,
    specVersion: row.spec_version,
    observedVersion: row.observed_version,
    wanted: row.wanted as Wanted,
    status: row.status as ServiceStatus,
    detail: JSON.parse(row.status_detail) as ServiceDetail,
    secrets,
    source: row.source === null ? null : (JSON.parse(row.source) as ServiceSource),
    engineVersion: row.engine_version,
    systemVersion: row.system_version,
    statementsUntil: row.statements_until,
  }
}

const context = (id: string, name: string) => `service_secrets/${id}/${name}`

/** What a new service and a restored one do not have alike. */
type OwnRow = Pick<
  Insertable<Tables['services']>,
  'id' | 'volume' | 'engine' | 'status' | 'source' | 'observed_version' | 'engine_version' | 'system_version'
>

/** Reads and writes of `services` and `service_secrets`: their one writer. */
export class ServiceStore {
  readonly #vault: Vault

  constructor(vault: Vault) {
    this.#vault = vault
  }

  async #secretsOf(db: Reader, id: string): Promise<Record<string, string>> {
    const rows = await db.selectFrom('service_secrets').select(['name', 'secret']).where('service_id', '=', id).execute()
    return Object.fromEntries(rows.map((row) => [row.name, this.#vault.open(row.secret, context(id, row.name))]))
  }

  /** With its secrets opened; undefined when there is none. */
  async byId(db: Reader, id: string): Promise<Service | undefined> {
    const row = await db.selectFrom('services').selectAll().where('id', '=', id).executeTakeFirst()
    return row && toService(row, await this.#secretsOf(db, row.id))
  }

  async byName(db: Reader, project: string, name: string): Promise<Service | undefined> {
    const row = await db.selectFrom('services').selectAll().where('project_ref', '=', project).where('name', '=', name).executeTakeFirst()
    return row && toService(row, await this.#secretsOf(db, row.id))
  }

  /** Without secrets: for lists and for work on many. */
  async list(
    db: Reader,
    filter: { projects?: readonly string[]; node?: string; status?: ServiceStatus; untouchedSince?: number },
  ): Promise<Service[]> {
    let query = db.selectFrom('services').selectAll().where('status', '!=', 'deleted').orderBy('created_at').orderBy('id')
    if (filter.projects) query = query.where('project_ref', 'in', filter.projects.length > 0 ? [...filter.projects] : [' '])
    if (filter.node !== undefined) query = query.where('node', '=', filter.node)
    if (filter.status) query = query.where('status', '=', filter.status)
    if (filter.untouchedSince !== undefined) query = query.where('updated_at', '<', filter.untouchedSince)
    return (await query.execute()).map((row) => toService(row, {}))
  }

  /** Writes a new service, status `pending`, with fresh secrets; answers its id. */
  async insert(trx: Transaction<Tables>, service: NewService, now = Date.now()): Promise<string> {
    const id = uuid()
    const source = service.source ? JSON.stringify(service.source) : null
    const row = { id, volume: id.replaceAll('-', ''), engine: service.engine.name, status: 'pending', source } as const
    await this.#insertRow(trx, service, { ...row, observed_version: 0, engine_version: null, system_version: null }, now)
    for (const name of service.engine.secrets) await this.setSecret(trx, id, name, randomToken(SECRET_BYTES), now)
    return id
  }

  /** One whose volume is there already, with the secrets that it knows; it sleeps. Answers its id. */
  async insertRestored(trx: Transaction<Tables>, service: RestoredService, now = Date.now()): Promise<string> {
    const id = uuid()
    const { volume, engine, engineVersion, systemVersion } = service
    const row = { id, volume, engine, status: 'asleep', source: null, observed_version: 1 } as const
    await this.#insertRow(trx, service, { ...row, engine_version: engineVersion, system_version: systemVersion }, now)
    for (const [name, secret] of Object.entries(service.secrets)) await this.setSecret(trx, id, name, secret, now)
    return id
  }

  /** In its first version, and wanted active. */
  async #insertRow(trx: Transaction<Tables>, service: NewService | RestoredService, own: OwnRow, now: number): Promise<void> {
    const { project: project_ref, name, driver, region, node } = service
    const wanted = { spec: JSON.stringify(service.spec), spec_version: 1, wanted: 'active', status_detail: '{}' } as const
    await trx
      .insertInto('services')
      .values({ project_ref, name, driver, region, node, ...wanted, ...own, created_at: now, updated_at: now })
      .execute()
  }

  async setSecret(trx: Transaction<Tables>, id: string, name: string, secret: string, now = Date.now()): Promise<void> {
    await trx.deleteFrom('service_secrets').where('service_id', '=', id).where('name', '=', name).execute()
    const sealed = this.#vault.seal(secret, context(id, name))
    await trx.insertInto('service_secrets').values({ service_id: id, name, secret: sealed, updated_at: now }).execute()
  }

  /** Gives an unclaimed prepared service to a project; its id, or undefined when none is free. Of several that try one gets it, the next one another. */
  async claimPrepared(trx: Transaction<Tables>, project: string, name: string, wanted: { engine: string; node: string; spec: unknown }) {
    const free = await trx
      .selectFrom('services')
      .select('id')
      .where('project_ref', '=', '')
      .where('engine', '=', wanted.engine)
      .where('node', '=', wanted.node)
      .where('wanted', '=', 'active')
      .where('status', 'in', ['awake', 'asleep'])
      .where('observed_version', '>', 0)
      .where('spec', '=', JSON.stringify(wanted.spec))
      .orderBy('created_at')
      .limit(CLAIM_TRIES)
      .execute()
    for (const { id } of free) {
      const claimed = await trx
        .updateTable('services')
        .set({ project_ref: project, name, updated_at: Date.now() })
        .where('id', '=', id)
        .where('project_ref', '=', '')
        .where('wanted', '=', 'active')
        .executeTakeFirst()
      if (claimed.numUpdatedRows > 0n) return id
    }
    return undefined
  }

  /** A prepared one that nobody wants any more; false when a project has claimed it meanwhile. */
  async dropPrepared(trx: Transaction<Tables>, id: string): Promise<boolean> {
    const dropped = await trx
      .updateTable('services')
      .set({ wanted: 'deleted', updated_at: Date.now() })
      .where('id', '=', id)
      .where('project_ref', '=', '')
      .executeTakeFirst()
    return dropped.numUpdatedRows > 0n
  }

  /** Its making begins; what a request has woken meanwhile stays as it is seen. */
  async begin(db: Reader, id: string): Promise<void> {
    await db
      .updateTable('services')
      .set({ status: 'creating', status_detail: '{}', updated_at: Date.now() })
      .where('id', '=', id)
      .where('observed_version', '=', 0)
      .where('status', 'in', ['pending', 'failed'])
      .execute()
  }

  /** It sleeps and takes this version at its next start: nothing is left to do for it. */
  async setObserved(db: Reader, id: string, version: number): Promise<void> {
    await db.updateTable('services').set({ observed_version: version, updated_at: Date.now() }).where('id', '=', id).execute()
  }

  /** What the last run of this node left as running sleeps now, and is answered: it ended with it. Other nodes' services are not touched. */
  async settle(db: Reader, node: string): Promise<string[]> {
    const ran = db.selectFrom('services').select('id').where('node', '=', node).where('status', 'in', ['awake', 'degraded', 'waking'])
    const running = await ran.execute()
    const mine = () => db.updateTable('services').set({ updated_at: Date.now() }).where('node', '=', node)
    await mine().set({ status: 'asleep' }).where('status', 'in', ['awake', 'degraded', 'waking', 'sleeping']).execute()
    await mine().set({ status: 'pending' }).where('status', '=', 'creating').where('observed_version', '=', 0).execute()
    await mine().set({ status: 'asleep' }).where('status', '=', 'creating').execute()
    return running.map(({ id }) => id)
  }

  /** Services of a node that are not yet as wanted: their jobs are asked for again at each start. */
  async unsettled(db: Reader, node: string): Promise<string[]> {
    const rows = await db
      .selectFrom('services')
      .select('id')
      .where('node', '=', node)
      .where((eb) =>
        eb.or([eb('wanted', '=', 'deleted'), eb.and([eb('wanted', '=', 'active'), eb('observed_version', '<', eb.ref('spec_version'))])]),
      )
      .execute()
    return rows.map((row) => row.id)
  }

  /** A new wanted spec. */
  async setSpec(trx: Transaction<Tables>, id: string, spec: unknown): Promise<void> {
    await trx
      .updateTable('services')
      .set((eb) => ({ spec: JSON.stringify(spec), spec_version: eb('spec_version', '+', 1), updated_at: Date.now() }))
      .where('id', '=', id)
      .execute()
  }

  /** Another volume, that another version wrote. */
  async setVolume(
    trx: Transaction<Tables>,
    id: string,
    { volume, engineVersion }: Pick<Service, 'volume' | 'engineVersion'>,
  ): Promise<void> {
    await trx.updateTable('services').set({ volume, engine_version: engineVersion, updated_at: Date.now() }).where('id', '=', id).execute()
  }

  /** null: no more. */
  async setStatementsUntil(trx: Transaction<Tables>, id: string, until: number | null): Promise<void> {
    await trx.updateTable('services').set({ statements_until: until, updated_at: Date.now() }).where('id', '=', id).execute()
  }

  async setWanted(trx: Transaction<Tables>, id: string, wanted: Wanted): Promise<void> {
    await trx.updateTable('services').set({ wanted, updated_at: Date.now() }).where('id', '=', id).execute()
  }

  /** What was seen. */
  async setStatus(db: Reader, id: string, status: ServiceStatus, seen: SeenStatus = {}): Promise<void> {
    await db
      .updateTable('services')
      .set({
        status,
        status_detail: JSON.stringify(seen.detail ?? {}),
        updated_at: Date.now(),
        ...(seen.observedVersion === undefined ? {} : { observed_version: seen.observedVersion }),
        ...(seen.engineVersion === undefined ? {} : { engine_version: seen.engineVersion }),
        ...(seen.systemVersion === undefined ? {} : { system_version: seen.systemVersion }),
      })
      .where('id', '=', id)
      .execute()
  }

  /** After the data is physically gone. */
  async forget(trx: Transaction<Tables>, id: string): Promise<void> {
    await trx.deleteFrom('service_secrets').where('service_id', '=', id).execute()
    await trx.deleteFrom('services').where('id', '=', id).execute()
  }
}

export interface SeenStatus {
  detail?: ServiceDetail
  observedVersion?: number
  engineVersion?: string
  systemVersion?: number
}
