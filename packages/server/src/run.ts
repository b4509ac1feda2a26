import { MAJORS } from '@sovrabase/contract/majors'
import type { Space } from './base/disk-space.ts'
import type { Log } from './base/log.ts'
import type { Metrics } from './base/metrics.ts'
import type { Outbound } from './base/outbound.ts'
import type { Config } from './config.ts'
import type { Foundation } from './foundation.ts'
import { SYSTEM } from './metadata/change.ts'
import type { Registry } from './registry.ts'
import { Archiver } from './runtime/archive/archiver.ts'
import { combineBases, findCombiner } from './runtime/archive/combine.ts'
import { makeRestorer } from './runtime/archive/restore.ts'
import { makePlaces, type Places } from './runtime/archive/settings.ts'
import { type Bases, makeBases } from './runtime/base.ts'
import { Connector } from './runtime/connect.ts'
import { makeMemory } from './runtime/memory.ts'
import { makePrepared, type Prepared } from './runtime/prepared.ts'
import { makeReconciler, reconcileJob, reconcileKind } from './runtime/reconcile.ts'
import { type Service, ServiceStore } from './runtime/services.ts'
import { makeSleeper } from './runtime/sleep.ts'
import { specWith } from './runtime/spec.ts'
import { upgradeJob, upgradeKind } from './runtime/upgrade/job.ts'
import { upgradeStore } from './runtime/upgrade/store.ts'
import { makeUpgrader } from './runtime/upgrade/upgrader.ts'
import { makeWatch } from './runtime/watch.ts'

export interface RunParts {
  readonly config: Config
  readonly foundation: Foundation
  readonly registry: Registry
  readonly metrics: Metrics
  readonly log: Log
  /** For addresses that a project's people set, and for those of the operator. */
  readonly outbound: Outbound
  readonly trusted: Outbound
  /** Of the data directory. */
  readonly incarnation: string
  /** Directory for what is on its way. */
  readonly spool: string
  /** Room on the disk of the data. */
  readonly space: Space
  /** Driver and engine of prepared services. */
  readonly driver: string
  readonly engine: string
}

/** What makes wanted states true on this node, and keeps services asleep, awake and within their limits. */
export interface Runtime {
  readonly services: ServiceStore
  readonly connector: Connector
  readonly prepared: Prepared
  /** Data of services as streams. */
  readonly bases: Bases
  /** Places of backups and archives. */
  readonly places: Places
  readonly archiver: Archiver
  /** What a new service's spec says where nobody says otherwise, by engine. */
  readonly specDefaults: Readonly<Record<string, object>>
  /** `limits.organisation`, sizes in MiB. */
  readonly organisationLimits: { readonly projects: number; readonly memory: number; readonly disk: number; readonly connections: number }
  /** ms until a service of that spec sleeps; 0: never. */
  readonly sleepAfter: (spec: { sleep_after?: number }) => number
  /** Once the queue runs: what an earlier run left half-done, sleep, limits. */
  /** `running`: services that the server before this one left running. */
  start(running: readonly string[]): Promise<void>
  close(): Promise<void>
  /** After everything sleeps: the last of the archives. `leave`: the clusters run on, and another server follows them. */
  closeArchives(leave: boolean): Promise<void>
}

const SECOND = 1000
const TAKEN_AT_ONCE = 8
const MIB = 1024 * 1024
const mib = (bytes: number): number => Math.ceil(bytes / MIB)

const sleepAfterOf =
  (config: Config) =>
  (spec: { sleep_after?: number }): number =>
    spec.sleep_after === undefined ? config.sleep_after : spec.sleep_after * SECOND

/** `limits.project` in the units of an engine's spec. */
function specDefaultsOf({ limits: { project } }: Config): Record<string, object> {
  const { connections, statement_timeout, wire_statement_timeout } = project
  const sizes = { memory: mib(project.memory), temp_files: mib(project.temp_files), disk: mib(project.disk) }
  return { postgres: { connections, statement_timeout, wire_statement_timeout, ...sizes } }
}

function organisationLimitsOf({ limits: { organisation } }: Config) {
  const { projects, connections } = organisation
  return { projects, connections, memory: mib(organisation.memory), disk: mib(organisation.disk) }
}

interface Ways {
  readonly short: () => boolean
  readonly copy: (service: Service) => Promise<boolean>
}

function makeConnector({ config, foundation, registry, metrics, log }: RunParts, services: ServiceStore, { short, copy }: Ways): Connector {
  const { metadata, nodeName } = foundation
  const { awake, timeouts } = config.limits
  const wakes = metrics.histogram('sovrabase_runtime_wake_seconds', 'Time from the first request to an awake service')
  const connector = new Connector({
    node: nodeName,
    engine: registry.engine,
    driver: registry.driver,
    load: (id) => services.byId(metadata.kysely, id),
    find: (project, name) => services.byName(metadata.kysely, project, name),
    copied: async ({ source }) => {
      const from = source ? await services.byId(metadata.kysely, source.service) : undefined
      return source && from ? { secrets: from.secrets, data: source.data } : undefined
    },
    copy,
    seen: (id, status, seen) => services.setStatus(metadata.kysely, id, status, seen),
    short,
    maxAwake: awake.clusters,
    maxQueue: awake.queue,
    patience: awake.patience,
    drain: timeouts.drain,
    log,
    onWake: (ms) => wakes.observe(ms / SECOND),
  })
  for (const driver of registry.drivers.values()) driver.onExit((id, detail, run) => connector.crashed(id, detail, run))
  metrics.gauge('sovrabase_runtime_awake_services', 'Services awake on this node', [], (gauge) => gauge.set([...connector.awake()].length))
  return connector
}

/** Services whose processes the server before this one left running are awake here too; what cannot be is started anew by its next request. */
async function takeOver(connector: Connector, running: readonly string[], log: Log): Promise<void> {
  const rest = [...running]
  async function some(): Promise<void> {
    for (let id = rest.shift(); id !== undefined; id = rest.shift())
      await connector.holdById(id, 'takeover').then(
        (hold) => hold.release(),
        (error: unknown) => log.warn({ err: error, service: id }, 'not taken over'),
      )
  }
  await Promise.all(Array.from({ length: TAKEN_AT_ONCE }, some))
}

function handleJobs({ config, foundation, registry, log }: RunParts, services: ServiceStore, connector: Connector): void {
  const { metadata, change, queue, nodeName } = foundation
  const { drain } = config.limits.timeouts
  const reconcile = makeReconciler({ metadata, change, services, connector, driver: registry.driver, engine: registry.engine, drain })
  async function tellFailed(id: string): Promise<void> {
    const project = (await services.byId(metadata.kysely, id))?.project
    await change(SYSTEM, (c) => c.event({ name: 'service.failed', subject: id, ...(project ? { project_ref: project } : {}) }))
  }
  queue.handle(reconcileKind(nodeName), {
    concurrency: 4,
    run: async (job) => {
      await reconcile(job.key)
      return undefined
    },
    failed: (job) =>
      tellFailed(job.key).catch((error: unknown) => log.error({ err: error, service: job.key }, 'could not record a failed service')),
  })
}

function handleUpgrades(
  { foundation, registry, config, space, log }: RunParts,
  runtime: Pick<Runtime, 'services' | 'connector' | 'archiver'>,
) {
  const { metadata, change, queue, nodeName } = foundation
  const { services, connector, archiver } = runtime
  const upgrader = makeUpgrader({
    metadata,
    change,
    services,
    connector,
    driver: registry.driver,
    engine: registry.engine,
    catchUp: (service) => archiver.catchUp(service),
    space,
    drain: config.limits.timeouts.drain,
    log,
  })
  queue.handle(upgradeKind(nodeName), {
    maxAttempts: 3,
    run: async (job, signal) => {
      await upgrader.run(job.key, signal)
      return undefined
    },
    failed: (job) =>
      upgrader.gaveUp(job.key).catch((error: unknown) => log.error({ err: error, service: job.key }, 'could not record a failed upgrade')),
  })
}

function archiveMetrics({ metrics }: RunParts, states: () => ReturnType<Archiver['states']>) {
  metrics.gauge('sovrabase_archive_lag_seconds', 'Age of the oldest change of any project that is not in its archive', [], (gauge) => {
    const since = states().flatMap(({ unstored_since }) => unstored_since ?? [])
    gauge.set(since.length === 0 ? 0 : Math.max(0, (Date.now() - Math.min(...since)) / SECOND))
  })
  metrics.gauge('sovrabase_archive_projects', 'Projects with an archive', [], (gauge) => gauge.set(states().length))
  metrics.gauge('sovrabase_archive_failing', 'Of these, those whose archive does not get what it should', [], (gauge) =>
    gauge.set(states().filter(({ failed_at }) => failed_at !== null).length),
  )
  return {
    failures: metrics.counter('sovrabase_archive_failures_total', 'Times that an archive could not be written'),
    bytes: metrics.counter('sovrabase_archive_log_bytes_total', 'Log that went into archives, before compression'),
  }
}

function makeArchives(parts: RunParts, services: ServiceStore, connector: () => Connector) {
  const { config, foundation, registry, outbound, trusted, spool, log } = parts
  const { metadata, secrets, bus, nodeName } = foundation
  const places = makePlaces({ metadata, vault: secrets.vault, archive: config.backup.archive, outbound, trusted })
  const restore = makeRestorer({
    places,
    engine: registry.engine,
    driver: registry.driver,
    combine: (plan, open) => combineBases(plan, open, spool),
    log,
  })
  const counted = archiveMetrics(parts, () => archiver.states())
  const archiver: Archiver = new Archiver({
    metadata,
    services,
    connector,
    engine: registry.engine,
    places,
    bus,
    node: nodeName,
    incarnation: parts.incarnation,
    incremental: async () => (await findCombiner()) !== null,
    combinable: ({ engineVersion }) => engineVersion === null || Number.parseInt(engineVersion, 10) === MAJORS.at(-1),
    stored: (bytes) => counted.bytes.inc(bytes),
    failed: () => counted.failures.inc(),
    log,
  })
  return { places, restore, archiver }
}

/** How the volume of a copy is filled where its source need not stand still. */
function copyOf(services: ServiceStore, { metadata }: Foundation, ways: { archives: ReturnType<typeof makeArchives>; bases: () => Bases }) {
  return async (service: Service): Promise<boolean> => {
    const { source } = service
    const from = source ? await services.byId(metadata.kysely, source.service) : undefined
    if (!source || !from) return false
    if (source.at === undefined) return await ways.bases().copyAwake(from, service)
    await ways.archives.archiver.catchUp(from)
    await ways.archives.restore(from, source.at, service)
    return true
  }
}

export function makeRuntime(parts: RunParts): Runtime {
  const { config, foundation, registry, log } = parts
  const { metadata, change, secrets, nodeName } = foundation
  const { awake, watch: rounds } = config.limits
  const services = new ServiceStore(secrets.vault)
  const memory = makeMemory({ limit: awake.memory, reserve: awake.reserve, every: rounds.memory, driver: registry.driver, log })
  const archives = makeArchives(parts, services, () => connector)
  const copy = copyOf(services, foundation, { archives, bases: () => bases })
  const connector: Connector = makeConnector(parts, services, { short: memory.short, copy })
  const bases: Bases = makeBases({ connector, engine: registry.engine, driver: registry.driver })
  const engine = registry.engine(parts.engine)
  const specDefaults = specDefaultsOf(config)
  const prepared = makePrepared({
    metadata,
    change,
    services,
    engine,
    driver: parts.driver,
    region: config.node.region,
    node: nodeName,
    spec: () => specWith(engine, specDefaults[engine.name], {}),
    size: config.engines.postgres.pool,
    log,
  })
  const sleepAfter = sleepAfterOf(config)
  const sleeper = makeSleeper({ connector, sleepAfter: (entry) => sleepAfter(entry.service.spec as { sleep_after?: number }), log })
  const watch = makeWatch({ connector, driver: registry.driver, log, every: rounds.statements, diskEvery: rounds.disk })
  handleJobs(parts, services, connector)
  handleUpgrades(parts, { services, connector, archiver: archives.archiver })

  return {
    services,
    connector,
    prepared,
    bases,
    places: archives.places,
    archiver: archives.archiver,
    specDefaults,
    organisationLimits: organisationLimitsOf(config),
    sleepAfter,
    async start(running) {
      const left = await services.unsettled(metadata.kysely, nodeName)
      for (const id of left) await change(SYSTEM, (c) => c.job(reconcileJob({ id, node: nodeName })))
      for (const id of await upgradeStore.unfinished(metadata.kysely, nodeName))
        await change(SYSTEM, (c) => c.job(upgradeJob({ id, node: nodeName })))
      prepared.refill()
      sleeper.start()
      watch.start()
      memory.start(connector)
      await takeOver(connector, running, log)
      await archives.archiver.start()
    },
    async close() {
      await Promise.allSettled([sleeper.close(), watch.close(), memory.close(), prepared.close()])
    },
    closeArchives: (leave) => archives.archiver.close(leave ? 0 : config.limits.timeouts.drain),
  }
}
