import type { Log } from '../base/log.ts'
import type { Connector } from './connect.ts'
import { type Entry, lastSeen } from './entry.ts'

export interface SleeperOptions {
  readonly connector: Connector
  /** ms without a statement or request until a service sleeps; 0: never. */
  readonly sleepAfter: (entry: Readonly<Entry>) => number
  readonly log: Log
  readonly now?: () => number
  /** ms between two looks. */
  readonly every?: number
}

/** Puts services to sleep that have been idle for their time. */
export function makeSleeper(options: SleeperOptions) {
  const now = options.now ?? Date.now
  let timer: NodeJS.Timeout | null = null
  let looking: Promise<void> = Promise.resolve()

  /** The engine is asked only once the server's own count says idle: sessions of the wire protocol may run without a byte passing. */
  async function isIdle(entry: Readonly<Entry>, patience: number): Promise<boolean> {
    if (now() - Math.max(lastSeen(entry, now()), entry.wokenAt) < patience) return false
    const last = entry.links.size > 0 ? await entry.attachment?.lastActivity?.() : 0
    return now() - (last ?? 0) >= patience
  }

  async function look(): Promise<void> {
    for (const entry of [...options.connector.awake()]) {
      const patience = options.sleepAfter(entry)
      if (patience === 0 || entry.holds > 0) continue
      try {
        if (await isIdle(entry, patience)) await options.connector.sleep(entry.id)
      } catch (error) {
        options.log.warn({ err: error, service: entry.id }, 'could not tell whether a service is idle')
      }
    }
  }

  return {
    start() {
      timer = setInterval(() => {
        looking = looking.then(look)
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
