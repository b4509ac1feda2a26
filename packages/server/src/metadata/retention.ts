import type { Kysely } from 'kysely'
import type { Queue } from '../base/jobs.ts'
import { type Log, silentLog } from '../base/log.ts'
import type { Metadata } from './open.ts'
import { enqueueFirst, repeated } from './repeated.ts'
import type { Tables } from './tables.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

interface Rule {
  readonly table: keyof Tables & string
  readonly key: readonly string[]
  /** The time from which the age counts: a column; rows without it stay. */
  readonly since: string
  /** Further condition, of our own text only. */
  readonly only?: { readonly column: string; readonly value: string | number }
  /** ms, the default. */
  readonly keep: number
}

/** Whatever grows in the metadata, by name. Revoked API keys stay: those that are JWTs would verify again without their row. */
const RULES = {
  events: { table: 'events', key: ['seq'], since: 'created_at', keep: 400 * DAY },
  jobs_done: { table: 'jobs', key: ['id'], since: 'finished_at', only: { column: 'state', value: 'done' }, keep: 7 * DAY },
  jobs_failed: { table: 'jobs', key: ['id'], since: 'finished_at', only: { column: 'state', value: 'failed' }, keep: 90 * DAY },
  idempotent_answers: { table: 'idempotent_answers', key: ['actor', 'key'], since: 'expires_at', keep: 0 },
  denied_sessions: { table: 'denied_sessions', key: ['realm', 'session_id'], since: 'expires_at', keep: 0 },
  invitations: { table: 'invitations', key: ['id'], since: 'expires_at', keep: 30 * DAY },
  nodes: { table: 'nodes', key: ['id'], since: 'seen_at', keep: 7 * DAY },
  realm_keys: {
    table: 'realm_keys',
    key: ['realm', 'kid'],
    since: 'expires_at',
    only: { column: 'state', value: 'retired' },
    keep: 7 * DAY,
  },
  access_tokens_revoked: { table: 'access_tokens', key: ['id'], since: 'revoked_at', keep: 90 * DAY },
  access_tokens_expired: { table: 'access_tokens', key: ['id'], since: 'expires_at', keep: 90 * DAY },
  sessions_ended: { table: 'auth_sessions', key: ['id'], since: 'not_after', keep: DAY },
  refresh_tokens_revoked: {
    table: 'auth_refresh_tokens',
    key: ['id'],
    since: 'updated_at',
    only: { column: 'revoked', value: 1 },
    keep: 30 * DAY,
  },
  one_time_tokens: { table: 'auth_one_time_tokens', key: ['id'], since: 'created_at', keep: 7 * DAY },
  mfa_challenges: { table: 'auth_mfa_challenges', key: ['id'], since: 'created_at', keep: DAY },
  flow_state: { table: 'auth_flow_state', key: ['id'], since: 'created_at', keep: DAY },
  saml_relay_states: { table: 'auth_saml_relay_states', key: ['id'], since: 'created_at', keep: DAY },
  audit_log_entries: { table: 'auth_audit_log_entries', key: ['id'], since: 'created_at', keep: 400 * DAY },
} as const satisfies Record<string, Rule>

export type RetentionName = keyof typeof RULES
export const RETENTION_NAMES = Object.keys(RULES) as RetentionName[]
/** ms by name; what is not named keeps its default. */
export type Retention = Partial<Record<RetentionName, number>>

export const retentionDefault = (name: RetentionName): number => RULES[name].keep

const PAGE = 200
type Rows = Record<string, Record<string, string | number>>

/** By key, with the age once more: a row may have been renewed meanwhile. */
async function remove(db: Kysely<Rows>, rule: Rule, before: number, rows: readonly Record<string, string | number>[]): Promise<void> {
  const [first = '', ...more] = rule.key
  await db
    .deleteFrom(rule.table)
    .where(rule.since, '<', before)
    .where((eb) =>
      more.length === 0
        ? eb(
            first,
            'in',
            rows.map((row) => row[first]!),
          )
        : eb.or(rows.map((row) => eb.and(rule.key.map((column) => eb(column, '=', row[column]!))))),
    )
    .execute()
}

async function sweepRule(metadata: Metadata, rule: Rule, before: number, signal?: AbortSignal): Promise<number> {
  // Tables and columns come from RULES; the type of all of them at once says nothing.
  const db = metadata.kysely as unknown as Kysely<Rows>
  let swept = 0
  while (!signal?.aborted) {
    let query = db
      .selectFrom(rule.table)
      .select([...rule.key])
      .where(rule.since, '<', before)
      .limit(PAGE)
    if (rule.only) query = query.where(rule.only.column, '=', rule.only.value)
    const rows = (await query.execute()) as Record<string, string | number>[]
    if (rows.length > 0) await remove(db, rule, before, rows)
    swept += rows.length
    if (rows.length < PAGE) break
  }
  return swept
}

/** Removes what is past its retention, in small steps. Answers the count by name, of those that had any. */
export async function sweep(
  metadata: Metadata,
  retention: Retention = {},
  now = Date.now(),
  signal?: AbortSignal,
): Promise<Partial<Record<RetentionName, number>>> {
  const counts: Partial<Record<RetentionName, number>> = {}
  for (const name of RETENTION_NAMES) {
    const count = await sweepRule(metadata, RULES[name], now - (retention[name] ?? RULES[name].keep), signal)
    if (count > 0) counts[name] = count
  }
  return counts
}

const SWEEP = 'sweep'

/** The one sweeper of all nodes: a job that queues itself again each hour. */
export async function startSweeper(
  metadata: Metadata,
  queue: Queue,
  options: { retention?: Retention; log?: Log; now?: () => number; every?: number } = {},
): Promise<void> {
  const { retention = {}, log = silentLog, now = Date.now, every = HOUR } = options
  queue.handle(
    SWEEP,
    repeated(async (_job, signal) => {
      const counts = await sweep(metadata, retention, now(), signal)
      if (Object.keys(counts).length > 0) log.info({ counts }, 'removed what was past its retention')
      return { again_at: now() + every }
    }),
  )
  await enqueueFirst(metadata, queue, { kind: SWEEP, key: 'metadata' })
}
