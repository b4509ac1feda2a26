import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Endpoint } from '../../driver.ts'
import { adminConnection } from './connections.ts'

const POLL_MS = 5
/** A start that shows no socket at all. */
const START_MS = 30_000
/** One that answers "starting up": it replays its log after a crash. */
const RECOVERY_MS = 300_000
/** A client that nobody takes is closed. */
const PARKED_MS = 60_000

const REFUSED = new Set(['28P01', '28000'])
const RECOVERING = '57P03'

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? ''

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // EPERM: it lives under another uid.
    return codeOf(error) !== 'ESRCH'
  }
}

/** Opens our superuser's connection; undefined where the cluster refuses the password. Other errors reject. */
export async function signIn(at: Endpoint, password: string): Promise<pg.Client | undefined> {
  const client = new pg.Client(adminConnection(at, password))
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
 * Waits until the cluster takes connections: the socket is looked for each 5 ms, then a connection is tried. Resolves to our superuser's
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
  for (;;) {
    if (socket === null || existsSync(socket)) {
      try {
        return await firstOf(at, passwords)
      } catch (error) {
        reason = codeOf(error) || 'connection ended'
      }
    }
    const waited = now() - start
    if (at.pid !== undefined && !alive(at.pid))
      throw fail('engine_not_ready', { seconds: Math.ceil(waited / 1000), reason: 'its process ended' })
    if (waited > (reason === RECOVERING ? RECOVERY_MS : START_MS))
      throw fail('engine_not_ready', { seconds: Math.round(waited / 1000), reason })
    await pause(POLL_MS)
  }
}

export interface Parking {
  /** Keeps the client for the next step of the same run. */
  put(at: Endpoint, client: pg.Client): void
  take(at: Endpoint): pg.Client | undefined
}

/** Hands the one connection of a wake from `ready` to `prepare` to `attach`, so that it is opened once. */
export function makeParking(): Parking {
  const parked = new Map<string, { client: pg.Client; timer: NodeJS.Timeout }>()
  const leave = (run: string) => {
    const place = parked.get(run)
    parked.delete(run)
    if (place) clearTimeout(place.timer)
    return place?.client
  }
  return {
    put(at, client) {
      leave(at.run)
        ?.end()
        .catch(() => undefined)
      const timer = setTimeout(() => {
        leave(at.run)
          ?.end()
          .catch(() => undefined)
      }, PARKED_MS)
      timer.unref()
      parked.set(at.run, { client, timer })
      client.once('end', () => {
        if (parked.get(at.run)?.client === client) leave(at.run)
      })
    },
    take: (at) => leave(at.run),
  }
}
