import type { WireListener } from './apis/wire/options.ts'
import type { Space } from './base/disk-space.ts'
import type { Http } from './base/http.ts'
import type { Metrics } from './base/metrics.ts'
import { type Config, hasPathForm, publicUrl } from './config.ts'
import type { Foundation } from './foundation.ts'
import { recordAddress } from './gateway/former.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { Addressing, FormerAddress } from './gateway/urls.ts'
import { type AdminListener, listenAdmin, listenApi } from './listen.ts'
import type { NodeOptions } from './node.ts'
import type { Runtime } from './run.ts'
import { startWire } from './wire.ts'

/** What a server listens on, as it comes up. Ports are chosen late: whoever needs one asks when it does. */
export interface Doors {
  port: number
  admin: AdminListener | undefined
  wire: WireListener | undefined
  former: readonly FormerAddress[]
  ready: boolean
}

export const closedDoors = (config: Config): Doors => ({
  port: config.api.port,
  admin: undefined,
  wire: undefined,
  former: [],
  ready: false,
})

export const addressingOf = (config: Config, doors: Doors): Addressing => ({
  publicUrl: () => publicUrl(config, doors.port),
  baseDomain: config.api.base_domain,
  pathForm: hasPathForm(config),
  former: () => doors.former,
})

/** Where requests that people direct must not go. */
export const ownListeners = ({ api, admin, wire }: Config, doors: Doors): { host: string; port: number }[] => [
  { host: api.host, port: doors.port },
  ...(doors.admin ? [{ host: admin.host, port: doors.admin.port }] : []),
  ...(doors.wire ? [{ host: wire.host, port: doors.wire.port }] : []),
]

interface DoorParts {
  readonly metrics: Metrics
  readonly space: Space
  readonly addressing: Addressing
  readonly gateway: Gateway
  readonly runtime: Runtime
}

/** All of them, or an error: those that are open then are closed by the server's end. */
export async function openDoors(doors: Doors, app: Http, options: NodeOptions, foundation: Foundation, parts: DoorParts): Promise<void> {
  const { config, seat, log } = options
  const { metrics, space, addressing, gateway } = parts
  const { services, connector } = parts.runtime
  const { inherited } = seat
  doors.port = await listenApi(app, config.api.host, config.api.port, inherited)
  doors.former = await recordAddress(foundation.metadata, addressing)
  doors.admin = await listenAdmin({
    host: config.admin.host,
    port: config.admin.port,
    metrics,
    ready: () => doors.ready,
    warnings: () => (space.low() ? ['disk_low'] : []),
    inherited,
  })
  doors.wire = await startWire({ config, foundation, connector, services, projects: gateway.projects, metrics, log, inherited })
  inherited.close()
}
