import type { Kysely } from 'kysely'
import type { Change } from '../metadata/change.ts'
import type { Tables } from '../metadata/tables.ts'

export const PLATFORM = 'platform'

/** Sessions that were ended while access tokens of theirs are still within their time: refused on all APIs and sockets of every node. */
export interface Denied {
  /** The living set of a realm: the same object for good, so that it can be kept. */
  of(realm: string): ReadonlyMap<string, number>
  /** Reads all that still counts; at start, and whenever an event `session.ended` tells of another. */
  load(): Promise<void>
  /** One event `session.ended` of any node. */
  heard(realm: string, sessionId: string, until: number): void
  /** Listeners get each newly denied session (to close its sockets). */
  onDenied(listener: (realm: string, sessionId: string) => void): void
}

/** Part of the transaction that ends the session. `until`: ms when its last access token expires. */
export async function denySession(change: Change, realm: string, sessionId: string, until: number): Promise<void> {
  const known = await change.trx
    .selectFrom('denied_sessions')
    .select('expires_at')
    .where('realm', '=', realm)
    .where('session_id', '=', sessionId)
    .executeTakeFirst()
  if (!known) await change.trx.insertInto('denied_sessions').values({ realm, session_id: sessionId, expires_at: until }).execute()
  await change.event({
    name: 'session.ended',
    subject: sessionId,
    ...(realm === PLATFORM ? {} : { project_ref: realm }),
    after: { expires_at: until },
  })
}

export function makeDenied(db: Kysely<Tables>, now: () => number = Date.now): Denied {
  const realms = new Map<string, Map<string, number>>()
  const listeners: ((realm: string, sessionId: string) => void)[] = []

  function of(realm: string): Map<string, number> {
    const known = realms.get(realm)
    if (known) return known
    const fresh = new Map<string, number>()
    realms.set(realm, fresh)
    return fresh
  }

  function heard(realm: string, sessionId: string, until: number): void {
    const set = of(realm)
    for (const [id, end] of set) {
      if (end >= now()) break
      set.delete(id)
    }
    if (set.has(sessionId)) return
    set.set(sessionId, until)
    for (const listener of listeners) listener(realm, sessionId)
  }

  return {
    of,
    heard,
    async load() {
      const rows = await db.selectFrom('denied_sessions').selectAll().where('expires_at', '>', now()).orderBy('expires_at').execute()
      for (const row of rows) heard(row.realm, row.session_id, row.expires_at)
    },
    onDenied: (listener) => void listeners.push(listener),
  }
}
