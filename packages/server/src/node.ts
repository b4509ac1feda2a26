import { join } from 'node:path'
import { restApi } from './apis/rest/routes.ts'
import type { WireListener } from './apis/wire/options.ts'
import { type Auth, makeAuth } from './auth.ts'
import { makeSpace, type Space } from './base/disk-space.ts'
import { type Http, makeHttp } from './base/http.ts'
import type { Log } from './base/log.ts'
import type { LogFiles } from './base/log-files.ts'
import { type Metrics, makeMetrics } from './base/metrics.ts'
import { makeStoreOutbounds } from './base/objects/outbound.ts'
import { within } from './base/objects/store.ts'
import { makeOutbound } from './base/outbound.ts'
import { allowsKeyless, type Config, hasPathForm, publicUrl } from './config.ts'
import type { Control } from './control/context.ts'
import { mountControl } from './control/control.ts'
import { ensureDemo } from './control/demo/demo.ts'
import { setupSecret } from './control/setup/store.ts'
import { makeControl } from './control-parts.ts'
import { type Ends, makeEnds } from './ends.ts'
import { type Foundation, lay } from './foundation.ts'
import { refuseWhenLow } from './gateway/disk.ts'
import { recordAddress } from './gateway/former.ts'
import { type Gateway, makeGateway, mountPlatformApi, mountProjectApi } from './gateway/gateway.ts'
import { makeRewrite, onSharedOrigin, projectOf } from './gateway/resolve.ts'
import type { ProjectPrincipal } from './gateway/types.ts'
import type { Addressing, FormerAddress } from './gateway/urls.ts'
import type { Seat } from './keeper.ts'
import { listenAdmin, listenApi } from './listen.ts'
import { joinNodes } from './metadata/nodes.ts'
import { postgresProgram } from './programs.ts'
import { makeDenied } from './realms/denied.ts'
import { makeHasher } from './realms/hashing.ts'
import { ensureLocalToken } from './realms/local-token.ts'
import { makePlatformRealm } from './realms/platform.ts'
import { makeRegistry, type Registry } from './registry.ts'
import { makeRuntime } from './run.ts'
import { incarnationOf } from './runtime/archive/incarnation.ts'
import type { Places } from './runtime/archive/settings.ts'
import { withCold } from './runtime/cold/driver.ts'
import { Packs } from './runtime/cold/packs.ts'
import type { Workload } from './runtime/driver.ts'
import { embeddedDriver } from './runtime/drivers/embedded/driver.ts'
import type { Cluster } from './runtime/engines/postgres/cluster.ts'
import { postgresEngine } from './runtime/engines/postgres/index.ts'
import { upgradeKind } from './runtime/upgrade/job.ts'
import { upgradeStore } from './runtime/upgrade/store.ts'
import { startWire, wireHost } from './wire.ts'
import { handleJobs, startWork } from './work.ts'

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
export interface Node extends Ends {
  readonly control: Control
  readonly foundation: Foundation
  readonly url: string
  readonly adminUrl: string
  /** The set-up link while nobody has used it. */
  readonly setupUrl: string | null
  readonly demoRef: string | null
  readonly isolation: string
  readonly engineVersion: string
}

const DRIVER = 'embedded'
const DATABASE = 'db'
/** Engines and drivers of this server: each is one line. Answers the version of PostgreSQL, and what packs volumes. */
async function register(registry: Registry, { config, seat, log }: NodeOptions, foundation: Foundation, places: () => Places) {
  const program = await postgresProgram(config, join(seat.dataDir, 'engines'))
  const postgres = postgresEngine({
    version: program.version,
    bootstrap: foundation.bootstrap,
    log,
    settings: program.settings,
    others: Object.keys(program.others).map(Number),
    sets: program.sets,
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
      known: ({ project }) =>
        project ? (control.connector.seen(project.ref, DATABASE) as Cluster | undefined)?.catalogue.current : undefined,
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

function openHttp({ config, log }: NodeOptions, { keepAddress }: Foundation, addressing: Addressing): Http {
  const { headers, body, idle } = config.limits.timeouts
  return makeHttp({
    log,
    trustedProxies: config.api.trusted_proxies,
    headerLimit: config.limits.headers,
    timeouts: { headers, body: body ?? 0, idle },
    tls: config.api.tls,
    keepAddress,
    project: (request) => request.project?.ref,
    server: { rewriteUrl: makeRewrite(addressing) },
  })
}

function mountHealth(app: Http, ready: () => boolean): void {
  const publicRoute = { config: { action: 'public', quiet: true } } as const
  for (const [path, status] of [
    ['/health', 'ok'],
    ['/health/ready', 'ready'],
  ] as const)
    app.get(path, publicRoute, (_request, reply) => (ready() ? { status } : reply.code(503).send({ status: 'starting' })))
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
    space,
    log,
    driver: DRIVER,
    engine: 'postgres',
  })
  const { services, connector } = runtime
  const ran = await services.settle(metadata.kysely, nodeName)
  await upgradeStore.interrupt(metadata.kysely, nodeName)
  await queue.inherit(upgradeKind(nodeName))
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
    driver: DRIVER,
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
  handleJobs(control, foundation)

  let ready = false
  const app = openHttp(options, foundation, addressing)
  gateway.install(app as never)
  app.addHook('onRequest', refuseWhenLow(space) as never)
  mountHealth(app, () => ready)
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
  const ends = makeEnds({
    config,
    foundation,
    runtime,
    registry,
    metrics,
    app,
    endless,
    joined,
    listeners: () => ({ admin, wire }),
    unready: () => {
      ready = false
    },
    auth,
    outbounds: [outbound, stores.outbound, stores.trusted],
  })

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
    await startWork({ config, foundation, runtime, control, metrics, driver, listPacks, log })
    // The data directory is this process's alone: a former one that is no giver of its sockets is dead.
    if (!seat.heir) await queue.takeBack()
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
      ...ends,
    }
  } catch (error) {
    await ends.close().catch(() => {})
    throw error
  }
}
