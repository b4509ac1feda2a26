import type { Selectable } from 'kysely'
import { insertIfAbsent } from '../base/db/insert.ts'
import { type Log, silentLog } from '../base/log.ts'
import type { Metadata } from './open.ts'
import type { Nodes } from './tables.ts'

export interface NodeRecord {
  /** Kept in the data directory: the same after a restart. */
  readonly id: string
  readonly name: string
  readonly region: string
  readonly url: string | null
  readonly roles: readonly string[]
}

export interface SeenNode extends NodeRecord {
  readonly startedAt: number
  readonly seenAt: number
  /** Heard of within three beats. */
  readonly alive: boolean
}

export interface NodeOptions {
  readonly now?: () => number
  readonly log?: Log
  /** ms; default 10 s. */
  readonly beat?: number
}

const BEAT = 10_000
const BEATS_MISSED = 3

const toNode = (row: Selectable<Nodes>, now: number): SeenNode => ({
  id: row.id,
  name: row.name,
  region: row.region,
  url: row.url,
  roles: JSON.parse(row.roles) as string[],
  startedAt: row.started_at,
  seenAt: row.seen_at,
  alive: row.seen_at >= now - BEAT * BEATS_MISSED,
})

/** Writes this process's row and keeps it fresh; `close` takes it away, or leaves it to a process that goes on as this node. */
export async function joinNodes(
  metadata: Metadata,
  node: NodeRecord,
  options: NodeOptions = {},
): Promise<{ close(leave?: boolean): Promise<void> }> {
  const { now = Date.now, log = silentLog, beat = BEAT } = options
  const db = metadata.kysely
  const started_at = now()
  const { id, name, region, url } = node
  const row = () => ({ name, region, url, roles: JSON.stringify(node.roles), started_at, seen_at: now() })
  let writing: Promise<void> = Promise.resolve()

  /** Also puts it back, should a sweep have taken it while the database was away from here. */
  async function write(): Promise<void> {
    const written = await db.updateTable('nodes').set(row()).where('id', '=', id).executeTakeFirst()
    if (written.numUpdatedRows === 0n) await insertIfAbsent(db, 'nodes', { id, ...row() })
  }

  await write()
  const timer = setInterval(() => {
    writing = write().catch((error: unknown) => log.warn({ err: error }, 'the beat of this node could not be written'))
  }, beat)
  timer.unref()
  return {
    async close(leave = false) {
      clearInterval(timer)
      await writing
      if (leave) return
      await db
        .deleteFrom('nodes')
        .where('id', '=', id)
        .execute()
        .catch((error: unknown) => log.warn({ err: error }, 'the row of this node could not be removed'))
    },
  }
}

export async function listNodes(metadata: Metadata, now = Date.now()): Promise<SeenNode[]> {
  const rows = await metadata.kysely.selectFrom('nodes').selectAll().orderBy('region').orderBy('name').orderBy('id').execute()
  return rows.map((row) => toNode(row, now))
}
