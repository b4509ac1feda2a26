import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { isAlive } from '../../../base/alive.ts'
import { fail } from '../../../base/errors.ts'
import { nodePg } from '../../../base/later.ts'
import type { Endpoint } from '../../driver.ts'
import { adminConnection } from './connections.ts'

/** ms between two looks: short where a start takes its time, longer where more is amiss. Each try costs the cluster a process. */
const FIRST_PAUSE = 2
const LONGEST_PAUSE = 25
const PAUSE_GROWTH = 1.1
/** A start that shows no socket at all. */
const START_MS = 30_000
/** One that answers "starting up": it replays its log after a crash. */
const RECOVERY_MS = 300_000
/** What nobody takes is closed. */
const PARKED_MS = 60_000

const REFUSED = new Set(['28P01', '28000'])
const RECOVERING = '57P03'

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? ''

/** Opens our superuser's connection; undefined where the cluster refuses the password. Other errors reject. */
export async function signIn(at: Endpoint, password: string): Promise<pg.Client | undefined> {
  const client = new (nodePg().Client)(adminConnection(at, password))
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch (error) {
    if (REFUSED.has(codeOf(error))) return undefined
    throw error
  }
}

async function firstOf(at: Endpoint, passwords: readonly string[]): Promise<pg.Client | undefined> {
  for (const password of passwords) {
    const client = await signIn(at, password)
    if (client) return client
  }
  return undefined
}

/**
 * Waits until the cluster takes connections: the socket is looked for each few ms, then a connection is tried. Resolves to our superuser's
 * client, or to undefined where the cluster answers but takes none of the passwords (a copy that still has its source's).
 * Rejects with `engine_not_ready`.
 */
export async function waitUntilReady(
  at: Endpoint,
  passwords: readonly string[],
  now: () => number = Date.now,
): Promise<pg.Client | undefined> {
  const socket = at.host.startsWith('/') ? join(at.host, `.s.PGSQL.${at.port}`) : null
  const start = now()
  let reason = 'no socket'
  for (let wait = FIRST_PAUSE; ; wait = Math.min(wait * PAUSE_GROWTH, LONGEST_PAUSE)) {
    if (socket === null || existsSync(socket)) {
      try {
        return await firstOf(at, passwords)
      } catch (error) {
        reason = codeOf(error) || 'connection ended'
      }
    }
    const waited = now() - start
    if (at.pid !== undefined && !isAlive(at.pid))
      throw fail('engine_not_ready', { seconds: Math.ceil(waited / 1000), reason: 'its process ended' })
    if (waited > (reason === RECOVERING ? RECOVERY_MS : START_MS))
      throw fail('engine_not_ready', { seconds: Math.round(waited / 1000), reason })
    await pause(wait)
  }
}

export interface Parking<T> {
  /** Keeps it for the next step of the same run. */
  put(at: Endpoint, what: T): void
  take(at: Endpoint): T | undefined
  /** The one parked has ended. */
  gone(at: Endpoint, what: T): void
}

/** Hands what one step of a wake has opened to the next; `end` closes what nobody takes within a minute. */
export function makeParking<T>(end: (what: T) => Promise<unknown>): Parking<T> {
  const parked = new Map<string, { what: T; timer: NodeJS.Timeout }>()
  const leave = ({ run }: Endpoint): T | undefined => {
    const place = parked.get(run)
    parked.delete(run)
    clearTimeout(place?.timer)
    return place?.what
  }
  const drop = (at: Endpoint): void => {
    const what = leave(at)
    if (what !== undefined) end(what).catch(() => undefined)
  }
  return {
    put(at, what) {
      drop(at)
      parked.set(at.run, { what, timer: setTimeout(() => drop(at), PARKED_MS).unref() })
    },
    take: leave,
    gone(at, what) {
      if (parked.get(at.run)?.what === what) leave(at)
    },
  }
}
