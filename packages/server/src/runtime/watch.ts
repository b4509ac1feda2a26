import type { Log } from '../base/log.ts'
import type { Connector } from './connect.ts'
import type { Driver } from './driver.ts'
import type { Entry } from './entry.ts'

export interface WatchOptions {
  readonly connector: Connector
  readonly driver: (name: string) => Driver
  readonly log: Log
  /** ms between two rounds of enforcement (statements over their limit). */
  readonly every?: number
  /** A disk is measured at each so many rounds. */
  readonly diskRounds?: number
  readonly onDisk?: (entry: Readonly<Entry>, bytes: number) => void
}

/** Holds limits against what runs: people can unset their own statement time-out and fill a disk, so somebody has to look. */
export function makeWatch(options: WatchOptions) {
  const diskRounds = options.diskRounds ?? 5
  let timer: NodeJS.Timeout | null = null
  let round = 0
  let running: Promise<void> | null = null

  async function one(entry: Readonly<Entry>, measure: boolean): Promise<void> {
    const { attachment, service } = entry
    if (!attachment?.enforce) return
    const seen = measure ? await options.driver(service.driver).inspect(entry.id, service.volume, { disk: true }) : undefined
    if (seen?.disk !== undefined) options.onDisk?.(entry, seen.disk)
    if (entry.attachment === attachment) await attachment.enforce({ disk: seen?.disk })
  }

  async function look(measure: boolean): Promise<void> {
    for (const entry of [...options.connector.awake()]) {
      // What is idle and has no session of its own can neither run long nor fill a disk.
      if (entry.holds === 0 && entry.links.size === 0 && !measure) continue
      try {
        await one(entry, measure)
      } catch (error) {
        if (entry.state === 'awake') options.log.warn({ err: error, service: entry.id }, 'could not enforce limits')
      }
    }
  }

  return {
    start() {
      timer = setInterval(() => {
        running ??= look(round++ % diskRounds === 0).finally(() => {
          running = null
        })
      }, options.every ?? 2000)
      timer.unref()
    },
    look,
    async close() {
      if (timer) clearInterval(timer)
      await running
    },
  }
}
