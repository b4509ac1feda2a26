import { readFileSync } from 'node:fs'
import { groupRoom } from '../base/cgroups.ts'
import type { Log } from '../base/log.ts'
import type { Connector } from './connect.ts'
import type { Driver } from './driver.ts'

export interface MemoryOptions {
  /** Bytes that all awake services may take together; 0: no limit. */
  readonly limit: number
  /** Bytes that must stay available on the machine; 0: none. */
  readonly reserve: number
  /** ms between two measurements of what is awake. */
  readonly every: number
  readonly driver: (name: string) => Driver
  readonly log: Log
  /** Bytes that the machine, and the group that we were put in, can still give. */
  readonly available?: () => number
}

const FILE = '/proc/meminfo'

/** Bytes that can be used without swapping; no limit where the system does not say. */
function availableMemory(): number {
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync(FILE, 'utf8'))?.[1]
  return Math.min(kib === undefined ? Number.POSITIVE_INFINITY : Number(kib) * 1024, groupRoom())
}

/** Whether this node has memory for one more awake service: what the machine has left, and what all awake ones take. */
export function makeMemory(options: MemoryOptions) {
  const available = options.available ?? availableMemory
  let timer: NodeJS.Timeout | null = null
  let measuring: Promise<void> | null = null
  /** By run, so that what sleeps or woke since does not count twice. */
  let seen = new Map<string, number>()
  let awake: Connector['awake'] | null = null

  async function measure(connector: Connector): Promise<void> {
    const sizes = new Map<string, number>()
    for (const { id, endpoint, service } of [...connector.awake()]) {
      if (!endpoint) continue
      const { memory = 0 } = await options.driver(service.driver).inspect(id, service.volume, { memory: true })
      sizes.set(endpoint.run, memory)
    }
    seen = sizes
  }

  /** One that was not measured yet is taken for as large as the others. */
  function taken(): number {
    const average = seen.size === 0 ? 0 : [...seen.values()].reduce((sum, size) => sum + size, 0) / seen.size
    let sum = 0
    for (const { endpoint } of awake?.() ?? []) sum += (endpoint ? seen.get(endpoint.run) : undefined) ?? average
    return sum
  }

  return {
    short: (): boolean => (options.reserve > 0 && available() < options.reserve) || (options.limit > 0 && taken() >= options.limit),
    taken,
    measure,
    /** Begins to measure, if there is a limit that it is needed for. */
    start(connector: Connector): void {
      awake = () => connector.awake()
      if (options.limit === 0) return
      timer = setInterval(() => {
        measuring ??= measure(connector)
          .catch((error: unknown) => options.log.warn({ err: error }, 'could not measure the memory of awake services'))
          .finally(() => {
            measuring = null
          })
      }, options.every)
      timer.unref()
    },
    async close(): Promise<void> {
      if (timer) clearInterval(timer)
      await measuring
    },
  }
}
