import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { restApi } from './apis/rest/routes.ts'
import type { WireListener } from './apis/wire/options.ts'
import { type Auth, makeAuth } from './auth.ts'
import { makeSpace, type Space } from './base/disk-space.ts'
import { type Handle, handleName, handleOf } from './base/handles.ts'
import { type Http, makeHttp } from './base/http.ts'
import type { Log } from './base/log.ts'
import type { LogFiles } from './base/log-files.ts'
import { type Metrics, makeMetrics } from './base/metrics.ts'
import { makeStoreOutbounds } from './base/objects/outbound.ts'
import { within } from './base/objects/store.ts'
import { makeOutbound } from './base/outbound.ts'
import { allowsKeyless, type Config, hasPathForm, publicUrl } from './config.ts'
import { startPruning } from './control/backups/archive-prune.ts'
import { type BackupPlace, clearSpool } from './control/backups/place.ts'
import { sweepRestores } from './control/backups/restore.ts'
import { startBackups } from './control/backups/schedule.ts'
import type { Control } from './control/context.ts'
import { mountControl } from './control/control.ts'
import { ensureDemo } from './control/demo/demo.ts'
import { handleStatementLogs } from './control/logs/statements.ts'
import { PURGE, purgeProject } from './control/projects/verbs.ts'
import { setupSecret } from './control/setup/store.ts'
import { type Foundation, lay } from './foundation.ts'
import { refuseWhenLow } from './gateway/disk.ts'
import { recordAddress } from './gateway/former.ts'
import { type Gateway, makeGateway, mountPlatformApi, mountProjectApi } from './gateway/gateway.ts'
import { makeRewrite, onSharedOrigin, projectOf } from './gateway/resolve.ts'
import type { ProjectPrincipal } from './gateway/types.ts'
import type { Addressing, FormerAddress } from './gateway/urls.ts'
import type { Seat } from './keeper.ts'
import { listenAdmin, listenApi } from './listen.ts'
import { SYSTEM } from './metadata/change.ts'
import { joinNodes } from './metadata/nodes.ts'
import { metadataOptions } from './metadata/open.ts'
import { startResealing } from './metadata/reseal.ts'
import { startSweeper } from './metadata/retention.ts'
import { postgresProgram } from './programs.ts'
import { makeDenied } from './realms/denied.ts'
import { makeHasher } from './realms/hashing.ts'
import { ensureLocalToken } from './realms/local-token.ts'
import { makePlatformRealm, type PlatformRealm } from './realms/platform.ts'
import { makeRegistry, type Registry } from './registry.ts'
import { makeRuntime, type Runtime } from './run.ts'
import { incarnationOf } from './runtime/archive/incarnation.ts'
import type { Places } from './runtime/archive/settings.ts'
import { withCold } from './runtime/cold/driver.ts'
import { Packs } from './runtime/cold/packs.ts'
import { startCold } from './runtime/cold/sweep.ts'
import type { Workload } from './runtime/driver.ts'
import { embeddedDriver } from './runtime/drivers/embedded/driver.ts'
import type { Cluster } from './runtime/engines/postgres/cluster.ts'
import { postgresEngine } from './runtime/engines/postgres/index.ts'
import { startWire, wireHost } from './wire.ts'

export interface NodeOptions {
  readonly config: Config
  readonly seat: Seat
  readonly log: Log
  /** Null where they cannot be written. */
  readonly logs: LogFiles | null
  /** The file that the configuration was read from. */
  readonly configPath: string | null
  readonly version: string
  /** False: no demo project at a first start (a server install). */
  readonly demo: boolean
}

/** A running server. */
export interface Node {
  readonly control: Control
  readonly foundation: Foundation
  readonly url: string
  readonly adminUrl: string
  /** The set-up link while nobody has used it. */
  readonly setupUrl: string | null
  readonly demoRef: string | null
  readonly isolation: string
  readonly engineVersion: string
  /** Ends its own work and answers the listening sockets, for the server that takes over; it still answers until `close`. */
  handOver(): Promise<(readonly [string, Handle])[]>
  /** `leave`: the clusters go on, with the server that took over. */
  close(leave?: boolean): Promise<void>
}

const DRIVER = 'embedded'
const DATABASE = 'db'
/** ms in which busy connections get an answer that ends them, before the sockets are handed over. */
const SHED = 1_000
/** ms between two looks for idle connections while draining. */
const IDLE_LOOK = 50

/** Engines and drivers of this server: each is one line. Answers the version of PostgreSQL, and what packs volumes. */
async function register(registry: Registry, { config, seat, log }: NodeOptions, foundation: Foundation, places: () => Places) {
  const program = await postgresProgram(config, join(seat.dataDir, 'engines'))
  const postgres = postgresEngine({
    version: program.version,
    bootstrap: foundation.bootstrap,
    log,
    settings: program.settings,
    catalogues: join(seat.dataDir, 'catalogues'),
  })
  const embedded = embeddedDriver(seat.hands)
  // Built while the listeners come up; only the first start of all waits for it.
  const template = embedded.template(postgres.template)
  template.catch(() => {})
  registry.addEngine(postgres)
  const { place } = config.disk.cold
  // A folder of its own, so that a data directory that was restored elsewhere takes no pack of the living one away.
  const remote = async () => within(await places().open(place ?? ''), `cold-${incarnationOf(seat.dataDir)}`)
  const packs = new Packs({ dir: join(seat.dataDir, 'cold'), remote: place === null ? null : remote })
  const built = { ...embedded, apply: async (workload: Workload) => template.then(() => embedded.apply(workload)) }
  const driver = withCold(built, packs, log)
  registry.addDriver(driver)
  return { version: program.version, driver, listPacks: async () => packs.list((await embedded.volumes?.()) ?? []) }
}

function handlePurges(control: Control, { queue }: Foundation): void {
  queue.handle(PURGE, {
    run: async (job) => {
      await purgeProject(control, SYSTEM, job.key, { force: false })
      return undefined
    },
  })
}

/** APIs that applications speak: each is one line. */
function mountApis(app: Http, gateway: Gateway, control: Control, config: Config, auth: Auth): void {
  mountProjectApi(app, '/auth/v1', auth.api(gateway))
  mountProjectApi(
    app,
    '/rest/v1',
    restApi({
      bodyLimit: config.limits.body.rest,
      shared: (request) => onSharedOrigin(request.raw),
      principal: (request) => request.principal as ProjectPrincipal,
      settings: (request) => projectOf(request).settings.rest as object | undefined,
      url: (request) => new URL(`${projectOf(request).url}/rest/v1`),
      open(request) {
        const opened = gateway.limits.hold(request, control.connector, DATABASE)
        const share = (hold: Awaited<typeof opened>) => ({ database: hold.attached<Cluster>(), release: hold.release })
        return opened instanceof Promise ? opened.then(share) : share(opened)
      },
    }),
  )
}

function spaceMetrics(metrics: Metrics, space: Space): void {
  metrics.gauge('sovrabase_disk_free_bytes', 'Room left on the disk of the data', [], (gauge) => gauge.set(space.state().free))
  metrics.gauge('sovrabase_disk_reserve_bytes', 'Room that must stay free', [], (gauge) => gauge.set(space.state().reserve))
  metrics.gauge('sovrabase_disk_low', '1: nothing new and nothing large is taken', [], (gauge) => gauge.set(space.low() ? 1 : 0))
}

function awaitEventOf({ bus }: Foundation): Control['awaitEvent'] {
  return ({ names, project }, ms) =>
    new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        off()
        resolve()
      }
      const timer = setTimeout(end, Math.max(0, ms))
      const off = bus.on(names as Parameters<typeof bus.on>[0], (event) => {
        if (event.project_ref === project) end()
      })
    })
}

function backupPlace({ config, configPath, seat }: NodeOptions, { secrets, bootstrap, nodeName }: Foundation): BackupPlace {
  const where = metadataOptions({ database: config.database, data: { dir: seat.dataDir } })
  const { dir, every, recipients, keep, keep_for: keepFor, snapshots } = config.backup
  return {
    spool: join(seat.dataDir, 'spool'),
    snapshots: join(seat.dataDir, 'snapshots'),
    plan: { dir, every, recipients, keep, keepFor, snapshots },
    metadataFile: where.type === 'sqlite' && where.file !== ':memory:' ? where.file : null,
    installation: () => ({
      root_keys: secrets.revealRootKeys(),
      jwt_secret: secrets.jwtSecret,
      template_key: bootstrap,
      node_name: nodeName,
      config: configPath === null ? null : readFileSync(configPath, 'utf8'),
    }),
  }
}

interface Parts {
  readonly registry: Registry
  readonly runtime: Runtime
  readonly realm: PlatformRealm
  readonly addressing: Addressing
  readonly onDrain: Control['onDrain']
  readonly space: Space
  readonly wire: Control['wire']
  readonly mail: Control['mail']
  readonly fetch: Control['fetch']
}

function makeControl(options: NodeOptions, foundation: Foundation, parts: Parts): Control {
  const { config, log, logs, version } = options
  const { registry, runtime, realm, addressing, wire, mail } = parts
  return {
    realm,
    addressing,
    wire,
    mail,
    fetch: parts.fetch,
    services: runtime.services,
    connector: runtime.connector,
    prepared: runtime.prepared,
    bases: runtime.bases,
    places: runtime.places,
    archiver: runtime.archiver,
    backup: backupPlace(options, foundation),
    specDefaults: runtime.specDefaults,
    sleepAfter: runtime.sleepAfter,
    engines: registry.engines,
    drivers: registry.drivers,
    metadata: foundation.metadata,
    db: foundation.metadata.kysely,
    change: foundation.change,
    vault: foundation.secrets.vault,
    keepAddress: foundation.keepAddress,
    rootKey: foundation.secrets,
    log,
    node: { id: foundation.nodeName, name: foundation.nodeName, region: config.node.region },
    driver: DRIVER,
    organisationLimits: runtime.organisationLimits,
    keepDeleted: config.limits.retention.deleted_projects,
    logs,
    space: parts.space,
    onDrain: parts.onDrain,
    keepAnswers: config.limits.retention.idempotency,
    awaitEvent: awaitEventOf(foundation),
    version,
    startedAt: Date.now(),
    now: Date.now,
  }
}

/** The wiring: config → foundation → runtime → realms → gateway → control and APIs → listeners. */
export async function startNode(options: NodeOptions): Promise<Node> {
  const { config, seat, log } = options
  const foundation = await lay(config, seat, log)
  const { metadata, bus, queue, change, secrets, nodeName } = foundation
  const registry = makeRegistry()
  const { version: engineVersion, driver, listPacks } = await register(registry, options, foundation, () => runtime.places)
  const metrics = makeMetrics()
  const space = makeSpace({ dir: seat.dataDir, reserve: config.disk.reserve, share: config.disk.share })
  spaceMetrics(metrics, space)
  let port = config.api.port
  let wire: WireListener | undefined
  let former: readonly FormerAddress[] = []
  const addressing: Addressing = {
    publicUrl: () => publicUrl(config, port),
    baseDomain: config.api.base_domain,
    pathForm: hasPathForm(config),
    former: () => former,
  }
  const hasher = makeHasher()
  const { ca_file: caFile, proxy } = config.network
  const outbound = makeOutbound({
    allow: config.network.allow,
    // Ports are chosen late: asked at each connection.
    ownListeners: () => [
      { host: config.api.host, port },
      ...(admin ? [{ host: config.admin.host, port: admin.port }] : []),
      ...(wire ? [{ host: config.wire.host, port: wire.port }] : []),
    ],
    caFile,
    proxy,
  })
  const stores = makeStoreOutbounds({ allow: config.network.allow, caFile, proxy })
  const runtime = makeRuntime({
    config,
    foundation,
    registry,
    metrics,
    ...stores,
    incarnation: incarnationOf(seat.dataDir),
    spool: join(seat.dataDir, 'spool'),
    log,
    driver: DRIVER,
    engine: 'postgres',
  })
  const { services, connector } = runtime
  const ran = await services.settle(metadata.kysely, nodeName)
  const auth = makeAuth({ config, foundation, connector, outbound, hasher, log, version: options.version })
  const realm = makePlatformRealm({
    db: metadata.kysely,
    change,
    hasher,
    jwtSecret: secrets.jwtSecret,
    keepAddress: foundation.keepAddress,
    expiration: config.jwt.expiration,
    failedSignIns: config.limits.rates.failed_sign_ins,
  })
  const denied = makeDenied(metadata.kysely)
  const gateway = makeGateway({
    db: metadata.kysely,
    vault: secrets.vault,
    events: { on: (names, listener) => bus.on(names as Parameters<typeof bus.on>[0], listener) },
    realm,
    denied,
    metrics,
    addressing,
    allowKeyless: allowsKeyless(config),
    allowedOrigins: config.api.cors.allowed_origins,
    projectRequests: config.limits.rates.project_requests,
    wakes: config.limits.rates.wakes,
    localToken: ensureLocalToken(join(seat.dataDir, 'keys', 'local.token')),
    fetch: (url, wanted) => outbound.fetch(url, wanted),
  })
  /** Ends what would go on for ever. */
  const endless = new Set<() => void>()
  const control = makeControl(options, foundation, {
    registry,
    runtime,
    realm,
    addressing,
    space,
    onDrain: (listener) => {
      endless.add(listener)
      return () => void endless.delete(listener)
    },
    mail: auth.mail,
    fetch: (url, wanted) => outbound.fetch(url, wanted),
    wire: () => (wire ? { host: wireHost(config, addressing.publicUrl()), port: wire.port } : null),
  })
  handlePurges(control, foundation)
  handleStatementLogs(control, queue)

  const app = makeHttp({
    log,
    trustedProxies: config.api.trusted_proxies,
    headerLimit: config.limits.headers,
    timeouts: { headers: config.limits.timeouts.headers, body: config.limits.timeouts.body ?? 0, idle: config.limits.timeouts.idle },
    tls: config.api.tls,
    keepAddress: foundation.keepAddress,
    project: (request) => request.project?.ref,
    server: { rewriteUrl: makeRewrite(addressing) },
  })
  let ready = false
  gateway.install(app as never)
  app.addHook('onRequest', refuseWhenLow(space) as never)
  const publicRoute = { config: { action: 'public', quiet: true } } as const
  app.get('/health', publicRoute, (_request, reply) => (ready ? { status: 'ok' } : reply.code(503).send({ status: 'starting' })))
  app.get('/health/ready', publicRoute, (_request, reply) => (ready ? { status: 'ready' } : reply.code(503).send({ status: 'starting' })))
  await mountControl(app as never, control, gateway, { bodyLimit: config.limits.body.control })
  mountApis(app, gateway, control, config, auth)
  mountPlatformApi(app as never, await auth.platformApi(realm, gateway))

  const joined = await joinNodes(metadata, {
    id: nodeName,
    name: nodeName,
    region: config.node.region,
    url: config.api.public_url,
    roles: ['control', 'gateway', 'runtime'],
  })
  async function handOver(): Promise<(readonly [string, Handle])[]> {
    // Kept connections end with their next answer: what comes by them then would be lost.
    app.server.maxRequestsPerSocket = 1
    await Promise.all([runtime.close(), queue.close(), pause(SHED)])
    const all: (readonly [string, Handle | null | undefined])[] = [
      [handleName('api', config.api.host, config.api.port), handleOf(app.server)],
      [handleName('admin', config.admin.host, config.admin.port), admin?.handle()],
      [handleName('wire', config.wire.host, config.wire.port), wire?.handle()],
    ]
    return all.flatMap(([name, handle]) => (handle ? [[name, handle] as const] : []))
  }
  async function close(leave = false): Promise<void> {
    ready = false
    for (const end of endless) end()
    // A connection that had a request when the close began is idle after it, and nobody else would end it.
    const idle = setInterval(() => app.server.closeIdleConnections(), IDLE_LOOK)
    await Promise.race([app.close(), new Promise((resolve) => setTimeout(resolve, config.limits.timeouts.drain).unref())])
    clearInterval(idle)
    await wire?.close(config.limits.timeouts.drain)
    await auth.close()
    await runtime.close()
    await queue.close()
    await connector.close({ leave })
    await runtime.closeArchives(leave)
    await admin?.close()
    await Promise.all([outbound, stores.outbound, stores.trusted].map((one) => one.close()))
    if (!leave) await Promise.allSettled([...registry.drivers.values()].map((driver) => driver.close()))
    await joined.close(leave)
    await bus.close()
    metrics.close()
    await metadata.close()
  }

  let admin: Awaited<ReturnType<typeof listenAdmin>> | undefined
  try {
    await Promise.all([bus.start(), denied.load()])
    port = await listenApi(app, config.api.host, config.api.port, seat.inherited)
    former = await recordAddress(metadata, addressing)
    admin = await listenAdmin({
      host: config.admin.host,
      port: config.admin.port,
      metrics,
      ready: () => ready,
      warnings: () => (space.low() ? ['disk_low'] : []),
      inherited: seat.inherited,
    })
    wire = await startWire({ config, foundation, connector, services, projects: gateway.projects, metrics, log, inherited: seat.inherited })
    seat.inherited.close()
    await startSweeper(metadata, queue, {
      retention: { events: config.limits.retention.events, jobs_done: config.limits.retention.jobs },
      log,
    })
    await startResealing(metadata, queue, secrets.vault, log)
    await clearSpool(control.backup)
    await sweepRestores(control)
    await startBackups(control, queue, metrics)
    await startPruning(control, queue)
    await listPacks().catch((error: unknown) =>
      log.warn({ err: error }, 'could not list packed projects: it is tried again by their wakes'),
    )
    await startCold({ metadata, queue, services, connector, driver, node: nodeName, after: config.disk.cold.after, log })
    queue.start()
    const demoRef = options.demo ? await ensureDemo(control, log) : null
    await runtime.start(seat.heir ? ran : [])
    ready = true
    const setup = await setupSecret(control)
    return {
      control,
      foundation,
      url: addressing.publicUrl(),
      adminUrl: `http://${config.admin.host}:${admin.port}`,
      setupUrl: setup === null ? null : `${addressing.publicUrl()}/setup?token=${setup}`,
      demoRef,
      isolation: registry.driver(DRIVER).isolation,
      engineVersion,
      handOver,
      close,
    }
  } catch (error) {
    await close().catch(() => {})
    throw error
  }
}
