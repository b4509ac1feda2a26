import { join } from 'node:path'
import { type Auth, makeAuth } from './auth.ts'
import { makeSpace, type Space } from './base/disk-space.ts'
import { type Metrics, makeMetrics } from './base/metrics.ts'
import { makeStoreOutbounds } from './base/objects/outbound.ts'
import { within } from './base/objects/store.ts'
import { makeOutbound, type Outbound } from './base/outbound.ts'
import { allowsKeyless } from './config.ts'
import type { Control } from './control/context.ts'
import { makeControl } from './control-parts.ts'
import { addressingOf, type Doors, ownListeners } from './doors.ts'
import type { Foundation } from './foundation.ts'
import { type Gateway, makeGateway } from './gateway/gateway.ts'
import type { Addressing } from './gateway/urls.ts'
import type { NodeOptions } from './node.ts'
import { postgresProgram } from './programs.ts'
import { type Denied, makeDenied } from './realms/denied.ts'
import { makeHasher } from './realms/hashing.ts'
import { ensureLocalToken } from './realms/local-token.ts'
import { makePlatformRealm, type PlatformRealm } from './realms/platform.ts'
import { makeRegistry, type Registry } from './registry.ts'
import { makeRuntime, type Runtime } from './run.ts'
import { incarnationOf } from './runtime/archive/incarnation.ts'
import type { Places } from './runtime/archive/settings.ts'
import { type ColdDriver, withCold } from './runtime/cold/driver.ts'
import { Packs } from './runtime/cold/packs.ts'
import type { Workload } from './runtime/driver.ts'
import { embeddedDriver } from './runtime/drivers/embedded/driver.ts'
import { postgresEngine } from './runtime/engines/postgres/index.ts'
import { wireHost } from './wire.ts'

export const DRIVER = 'embedded'
export const DATABASE = 'db'
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

function spaceMetrics(metrics: Metrics, space: Space): void {
  metrics.gauge('sovrabase_disk_free_bytes', 'Room left on the disk of the data', [], (gauge) => gauge.set(space.state().free))
  metrics.gauge('sovrabase_disk_reserve_bytes', 'Room that must stay free', [], (gauge) => gauge.set(space.state().reserve))
  metrics.gauge('sovrabase_disk_low', '1: nothing new and nothing large is taken', [], (gauge) => gauge.set(space.low() ? 1 : 0))
}

/** What a server is made of, before anybody can reach it. */
export interface Parts {
  readonly registry: Registry
  readonly engineVersion: string
  readonly driver: ColdDriver
  /** Reads which volumes are packed. */
  readonly listPacks: () => Promise<unknown>
  readonly metrics: Metrics
  readonly space: Space
  readonly addressing: Addressing
  readonly outbounds: readonly Outbound[]
  readonly runtime: Runtime
  readonly auth: Auth
  readonly realm: PlatformRealm
  readonly denied: Denied
  readonly gateway: Gateway
  readonly control: Control
  /** Ends what would go on for ever. */
  readonly endless: ReadonlySet<() => void>
}

/** For addresses that a project's people set, and for those of stores. */
function makeOutbounds({ config }: NodeOptions, doors: Doors) {
  const { allow, ca_file: caFile, proxy } = config.network
  const outbound = makeOutbound({ allow, ownListeners: () => ownListeners(config, doors), caFile, proxy })
  return { outbound, stores: makeStoreOutbounds({ allow, caFile, proxy }) }
}

type Fetch = Outbound['fetch']

function peopleOf({ config, seat }: NodeOptions, foundation: Foundation, fetch: Fetch) {
  const { metadata, bus, change, secrets } = foundation
  const hasher = makeHasher()
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
  const gatewayOn = (metrics: Metrics, addressing: Addressing): Gateway =>
    makeGateway({
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
      fetch,
    })
  return { hasher, realm, denied, gatewayOn }
}

/** foundation → runtime → realms → gateway → control. */
export async function assemble(options: NodeOptions, foundation: Foundation, doors: Doors): Promise<Parts> {
  const { config, seat, log, version } = options
  const registry = makeRegistry()
  const registered = await register(registry, options, foundation, () => runtime.places)
  const metrics = makeMetrics()
  const space = makeSpace({ dir: seat.dataDir, reserve: config.disk.reserve, share: config.disk.share })
  spaceMetrics(metrics, space)
  const addressing = addressingOf(config, doors)
  const { outbound, stores } = makeOutbounds(options, doors)
  const fetch: Fetch = (url, wanted) => outbound.fetch(url, wanted)
  const places = { incarnation: incarnationOf(seat.dataDir), spool: join(seat.dataDir, 'spool') }
  const runtime = makeRuntime({
    config,
    foundation,
    registry,
    metrics,
    ...stores,
    ...places,
    space,
    log,
    driver: DRIVER,
    engine: 'postgres',
  })
  const { hasher, realm, denied, gatewayOn } = peopleOf(options, foundation, fetch)
  const auth = makeAuth({ config, foundation, connector: runtime.connector, outbound, hasher, log, version })
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
    fetch,
    wire: () => (doors.wire ? { host: wireHost(config, addressing.publicUrl()), port: doors.wire.port } : null),
  })
  const gateway = gatewayOn(metrics, addressing)
  const outbounds = [outbound, stores.outbound, stores.trusted]
  const made = { registry, metrics, space, addressing, outbounds, runtime, auth, realm, denied, gateway, control, endless }
  return { ...made, engineVersion: registered.version, driver: registered.driver, listPacks: registered.listPacks }
}
