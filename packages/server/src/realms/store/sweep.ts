import { type Kysely, sql } from 'kysely'
import type { Tables } from '../../metadata/tables.ts'
import type { Codec } from './fields.ts'
import type { WorkStore } from './types.ts'

/** Rows of one table that one call removes: an imported project may have millions that are too old, and a transaction is no place for those. */
const PAGE = 500
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Whatever grows in a realm, by name, and how long it is kept (ms) once it has no use. What the realm itself says is a setting of it. */
export const KEPT = {
  /** From when they are full again. */
  rates: 0,
  /** Links and codes are good for a day at most. */
  one_time_tokens: DAY,
  flow_state: DAY,
  saml_relay_states: DAY,
  mfa_challenges: HOUR,
  webauthn_challenges: 0,
  mails: 7 * DAY,
  /** From the end of their time, or of what a realm allows them to lie idle. */
  sessions: DAY,
  /** As long as a copy of one that was stolen is worth being noticed. */
  refresh_tokens_revoked: 30 * DAY,
} as const

interface Rule {
  readonly table: keyof Tables & `auth_${string}`
  readonly since: string
  /** ms; older ones go. */
  readonly before: number
  readonly only?: readonly [column: string, value: number]
}

type Rows = Record<string, Record<string, string | number>>

async function sweepRule(db: Kysely<Rows>, codec: Codec, { table, since, before, only }: Rule): Promise<boolean> {
  // The only time that a cluster too keeps as a number.
  const limit = table === 'auth_rates' ? before : codec.at(before)
  const old = db.selectFrom(table).select('id').where(sql.ref(since), '<', limit).limit(PAGE)
  const rows = await (only ? old.where(only[0], '=', only[1]) : old).execute()
  if (rows.length === 0) return false
  const ids = rows.map(({ id }) => id!)
  // With the age once more: a row may have been renewed meanwhile.
  await db.deleteFrom(table).where('id', 'in', ids).where(sql.ref(since), '<', limit).execute()
  return rows.length === PAGE
}

/** Sessions that nobody refreshed within what their realm allows. */
async function sweepIdle(db: Kysely<Rows>, codec: Codec, before: number): Promise<boolean> {
  const used = sql`coalesce(refreshed_at, created_at)`
  const old = db.selectFrom('auth_sessions').select('id')
  const rows = await old.where(used, '<', codec.at(before)).limit(PAGE).execute()
  if (rows.length === 0) return false
  const ids = rows.map(({ id }) => id!)
  await db.deleteFrom('auth_sessions').where('id', 'in', ids).where(used, '<', codec.at(before)).execute()
  return rows.length === PAGE
}

export const sweeping = (db: Kysely<Tables>, codec: Codec): Pick<WorkStore, 'sweep'> => ({
  async sweep({ audit, inactivity }, now) {
    const rules: Rule[] = [
      { table: 'auth_rates', since: 'full_at', before: now - KEPT.rates },
      { table: 'auth_one_time_tokens', since: 'created_at', before: now - KEPT.one_time_tokens },
      { table: 'auth_flow_state', since: 'created_at', before: now - KEPT.flow_state },
      { table: 'auth_saml_relay_states', since: 'created_at', before: now - KEPT.saml_relay_states },
      { table: 'auth_mfa_challenges', since: 'created_at', before: now - KEPT.mfa_challenges },
      { table: 'auth_webauthn_challenges', since: 'expires_at', before: now - KEPT.webauthn_challenges },
      { table: 'auth_mails', since: 'expires_at', before: now - KEPT.mails },
      { table: 'auth_sessions', since: 'not_after', before: now - KEPT.sessions },
      { table: 'auth_refresh_tokens', since: 'updated_at', before: now - KEPT.refresh_tokens_revoked, only: ['revoked', 1] },
      ...(audit === null ? [] : [{ table: 'auth_audit_log_entries', since: 'created_at', before: now - audit } as const]),
    ]
    // Tables and columns come from the rules; the type of all of them at once says nothing.
    const rows = db as unknown as Kysely<Rows>
    let more = false
    for (const rule of rules) more = (await sweepRule(rows, codec, rule)) || more
    if (inactivity !== null) more = (await sweepIdle(rows, codec, now - inactivity - KEPT.sessions)) || more
    return more
  },
})
