import { setTimeout as pause } from 'node:timers/promises'
import type { Auth } from './auth.ts'
import { type Handle, handleName, handleOf } from './base/handles.ts'
import type { Http } from './base/http.ts'
import type { Metrics } from './base/metrics.ts'
import type { Outbound } from './base/outbound.ts'
import type { Config } from './config.ts'
import type { Doors } from './doors.ts'
import type { Foundation } from './foundation.ts'
import type { Registry } from './registry.ts'
import type { Runtime } from './run.ts'

/** ms in which busy connections get an answer that ends them, before the sockets are handed over. */
const SHED = 1_000
/** ms between two looks for idle connections while draining. */
const IDLE_LOOK = 50

export interface EndParts {
  readonly config: Config
  readonly foundation: Foundation
  readonly runtime: Runtime
  readonly registry: Registry
  readonly metrics: Metrics
  readonly app: Http
  /** Ends what would go on for ever. */
  readonly endless: ReadonlySet<() => void>
  /** This node among the others. */
  readonly joined: { close(leave: boolean): Promise<void> }
  /** Those that are open: a start may fail before all are. */
  readonly doors: Doors
  readonly auth: Auth
  readonly outbounds: readonly Outbound[]
}

export interface Ends {
  /** Ends its own work and answers the listening sockets, for the server that takes over; it still answers until `close`. */
  handOver(): Promise<(readonly [string, Handle])[]>
  /** `leave`: the clusters go on, with the server that took over. */
  close(leave?: boolean): Promise<void>
}

/** How a server ends: what was begun last goes first. */
export function makeEnds(parts: EndParts): Ends {
  const { config, foundation, runtime, app } = parts
  return {
    async handOver() {
      // Kept connections end with their next answer: what comes by them then would be lost.
      app.server.maxRequestsPerSocket = 1
      await Promise.all([runtime.close(), foundation.queue.close(), pause(SHED)])
      const { admin, wire } = parts.doors
      const all: (readonly [string, Handle | null | undefined])[] = [
        [handleName('api', config.api.host, config.api.port), handleOf(app.server)],
        [handleName('admin', config.admin.host, config.admin.port), admin?.handle()],
        [handleName('wire', config.wire.host, config.wire.port), wire?.handle()],
      ]
      return all.flatMap(([name, handle]) => (handle ? [[name, handle] as const] : []))
    },
    async close(leave = false) {
      const { admin, wire } = parts.doors
      parts.doors.ready = false
      for (const end of parts.endless) end()
      await drain(app, config.limits.timeouts.drain)
      await wire?.close(config.limits.timeouts.drain)
      await parts.auth.close()
      await runtime.close()
      await foundation.queue.close()
      await runtime.connector.close({ leave })
      await runtime.closeArchives(leave)
      await admin?.close()
      await Promise.all(parts.outbounds.map((one) => one.close()))
      if (!leave) await Promise.allSettled([...parts.registry.drivers.values()].map((driver) => driver.close()))
      await parts.joined.close(leave)
      await foundation.bus.close()
      parts.metrics.close()
      await foundation.metadata.close()
    },
  }
}

/** Takes nothing new and lets what runs end, for so many ms at most. */
async function drain(app: Http, ms: number): Promise<void> {
  // A connection that had a request when the close began is idle after it, and nobody else would end it.
  const idle = setInterval(() => app.server.closeIdleConnections(), IDLE_LOOK)
  await Promise.race([app.close(), new Promise((resolve) => setTimeout(resolve, ms).unref())])
  clearInterval(idle)
}
