import type { Log } from '../base/log.ts'
import type { Connector } from './connect.ts'
import type { Driver } from './driver.ts'
import { type Entry, isBusy, lastSeen } from './entry.ts'

export interface WatchOptions {
  readonly connector: Connector
  readonly driver: (name: string) => Driver
  readonly log: Log
  /** ms between two rounds of enforcement (statements over their limit). */
  readonly every: number
  /** ms between two measurements of one disk that is in use. */
  readonly diskEvery: number
  readonly now?: () => number
}

/** What runs on without people (a checkpoint, a vacuum) changes the disk this long after they were last seen. */
const AFTERMATH = 60_000

/** Holds limits against what runs: people can unset their own statement time-out and fill a disk, so somebody has to look. */
export function makeWatch(options: WatchOptions) {
  const now = options.now ?? Date.now
  let timer: NodeJS.Timeout | null = null
  let running: Promise<void> | null = null
  /** When the disk of a run was last measured. */
  const measured = new WeakMap<object, number>()

  /** Measuring walks a thousand files: only where somebody was at work since, and once at each wake. */
  function isDue(entry: Readonly<Entry>, attachment: object): boolean {
    const last = measured.get(attachment)
    if (last === undefined) return true
    return now() - last >= options.diskEvery && (isBusy(entry) || lastSeen(entry, now()) + AFTERMATH >= last)
  }

  async function one(entry: Readonly<Entry>): Promise<void> {
    const { attachment, service } = entry
    if (!attachment?.enforce) return
    const due = isDue(entry, attachment)
    // What is idle and has no session of its own can neither run long nor fill a disk.
    if (!due && entry.holds === 0 && entry.links.size === 0) return
    const last = measured.get(attachment)
    // A look at sessions and roles takes a session of its own: not for who was not there.
    const quiet = last !== undefined && !isBusy(entry) && entry.links.size === 0 && lastSeen(entry, now()) < last
    if (due) measured.set(attachment, now())
    const seen = due ? await options.driver(service.driver).inspect(entry.id, service.volume, { disk: true }) : undefined
    if (entry.attachment === attachment) await attachment.enforce({ disk: seen?.disk, quiet })
  }

  async function look(): Promise<void> {
    for (const entry of [...options.connector.awake()]) {
      try {
        await one(entry)
      } catch (error) {
        if (entry.state === 'awake') options.log.warn({ err: error, service: entry.id }, 'could not enforce limits')
      }
    }
  }

  return {
    start() {
      timer = setInterval(() => {
        running ??= look().finally(() => {
          running = null
        })
      }, options.every)
      timer.unref()
    },
    look,
    async close() {
      if (timer) clearInterval(timer)
      await running
    },
  }
}
