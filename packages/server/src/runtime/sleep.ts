import type { Log } from '../base/log.ts'
import type { Connector } from './connect.ts'
import { type Entry, isKept, lastSeen } from './entry.ts'

export interface SleeperOptions {
  readonly connector: Connector
  /** ms without a statement or request until a service sleeps; 0: never. */
  readonly sleepAfter: (entry: Readonly<Entry>) => number
  readonly log: Log
  readonly now?: () => number
  /** ms between two looks. */
  readonly every?: number
}

/** How many go to sleep at once: each writes a checkpoint. */
const AT_ONCE = 4

/** Puts services to sleep that have been idle for their time. */
export function makeSleeper(options: SleeperOptions) {
  const now = options.now ?? Date.now
  let timer: NodeJS.Timeout | null = null
  let looking: Promise<void> | null = null

  const idleFor = (entry: Readonly<Entry>): number => (isKept(entry) ? 0 : now() - Math.max(lastSeen(entry, now()), entry.wokenAt))

  /** The engine is asked only once the server's own count says idle: sessions of the wire protocol may run without a byte passing. */
  async function isIdle(entry: Readonly<Entry>, patience: number): Promise<boolean> {
    if (idleFor(entry) < patience) return false
    const last = entry.links.size > 0 ? await entry.attachment?.lastActivity?.() : 0
    // Somebody may have come while the engine was asked.
    return now() - (last ?? 0) >= patience && idleFor(entry) >= patience
  }

  async function one(entry: Readonly<Entry>): Promise<void> {
    const patience = options.sleepAfter(entry)
    if (patience === 0) return
    try {
      if (await isIdle(entry, patience)) await options.connector.sleep(entry.id)
    } catch (error) {
      if (entry.state === 'awake') options.log.warn({ err: error, service: entry.id }, 'could not tell whether a service is idle')
    }
  }

  async function look(): Promise<void> {
    const left = [...options.connector.awake()].values()
    const worker = async () => {
      for (const entry of left) await one(entry)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
  }

  return {
    start() {
      timer = setInterval(() => {
        looking ??= look().finally(() => {
          looking = null
        })
      }, options.every ?? 1000)
      timer.unref()
    },
    look,
    async close() {
      if (timer) clearInterval(timer)
      await looking
    },
  }
}
