import type { Param } from '../runtime/engines/postgres/wire/protocol.ts'
import type { Transaction } from '../runtime/engines/postgres/wire/transaction.ts'
import { shapeOf } from './cluster-rows.ts'
import { FACTOR } from './store/factors.ts'
import { CLUSTER } from './store/fields.ts'
import { PROOF, REFRESH, SESSION, tidySession } from './store/sessions.ts'
import type { AuditEntry, Beginning, DailyStore, Knock, Taking } from './store/types.ts'
import { IDENTITY, tidyUser, USER } from './store/users.ts'

/** The ways of every day in one statement each: its parts see what was before it, and take effect together. */

const TOKEN = shapeOf(REFRESH)
const OF_SESSION = shapeOf(SESSION)
const OF_USER = shapeOf(USER)
const PROOFS = shapeOf(PROOF)
const IDENTITIES = shapeOf(IDENTITY)
const FACTORS = shapeOf(FACTOR)

const at = (ms: number | null): Param => (ms === null ? null : CLUSTER.at(ms))
const factorsOf = (user: string) => FACTORS.list(`auth.mfa_factors x where x.user_id = ${user}`, 'x.created_at, x.id')

/** As `take` in store/work.ts, from parameter `$n` on: key, share, end of the window. `$1` is now. */
const taking = (n: number, only = ''): string => `insert into sovrabase.auth_rates as r (id, full_at)
  select $${n}::text, $1::bigint + $${n + 1}::bigint ${only}
  on conflict (id) do update set full_at = case when r.full_at < $1::bigint or r.full_at > $${n + 2}::bigint then $1::bigint else r.full_at end + $${n + 1}::bigint
  where r.full_at <= $${n + 2}::bigint - $${n + 1}::bigint or r.full_at > $${n + 2}::bigint returning full_at`
const takes = ({ key, rule }: Taking, now: number): Param[] => [key, shareOf(rule), now + rule.window]
const shareOf = ({ amount, window }: Taking['rule']): number => Math.ceil(window / amount)

/** When a bucket that gave nothing will be full; null where it gave. */
const over = (name: string, n: number, only = ''): string =>
  `case when ${only}not exists (select from ${name}) then coalesce((select full_at from sovrabase.auth_rates where id = $${n}), $1) end`
const waitOf = (full: string | null, { rule }: Taking, now: number): number =>
  full === null ? 0 : Math.max(1, Number(full) + shareOf(rule) - rule.window - now)

const REFRESHING = `${TOKEN.columns('t')}, ${OF_SESSION.columns('s')}, ${OF_USER.columns('u')},
  ${PROOFS.list('auth.mfa_amr_claims x where x.session_id = s.id', 'x.updated_at desc')},
  ${IDENTITIES.list('auth.identities x where x.user_id = u.id', 'x.created_at, x.id')},
  ${factorsOf('u.id')}
  from (select) one left join (auth.refresh_tokens t join auth.sessions s on s.id = t.session_id join auth.users u on u.id = s.user_id)`
const REFRESHING_ALONE = `select null, ${REFRESHING} on t.token = $1`
const REFRESHING_COUNTED = `with taken as (${taking(3)}) select ${over('taken', 3)}, ${REFRESHING} on t.token = $2`

const ENTRY = (n: number): string => `insert into auth.audit_log_entries (id, payload, created_at, ip_address)
  values ($${n}::uuid, $${n + 1}::json, $${n + 2}::timestamptz, $${n + 3})`
const entryOf = ({ id, payload, createdAt, ip }: AuditEntry): Param[] => [id, JSON.stringify(payload), at(createdAt), ip]

// The session before its tokens, as whoever removes a session locks them: the other way round they would wait for each other.
const ROTATE = `with gone_on as (update auth.sessions set refreshed_at = $1::timestamptz, updated_at = $1::timestamptz where id = $3::uuid returning id),
  used as (update auth.refresh_tokens set revoked = true, updated_at = $1::timestamptz from gone_on where token = $2 and revoked = false),
  next as (insert into auth.refresh_tokens (token, user_id, session_id, parent, created_at, updated_at, revoked)
    values ($4, $5, $3::uuid, $6, $7::timestamptz, $7::timestamptz, false))
  ${ENTRY(8)}`

const KNOCK_SELECT = (by: 'email' | 'phone', value: number, address: string): string => `select ${address},
  ${over('failed', 2, address === 'null' ? '' : 'exists (select from address) and ')}, (select full_at from tried), ${OF_USER.columns('u')}
  from (select) one left join auth.users u on u.${by} = $${value} and u.deleted_at is null and u.is_sso_user = false`
const COME = 'where exists (select from address)'
const KNOCK = {
  counted: (by: 'email' | 'phone') =>
    `with address as (${taking(8)}), failed as (${taking(2, COME)}), tried as (${taking(5, COME)}) ${KNOCK_SELECT(by, 11, over('address', 8))}`,
  free: (by: 'email' | 'phone') => `with failed as (${taking(2)}), tried as (${taking(5)}) ${KNOCK_SELECT(by, 8, 'null')}`,
}
const KNOCKS = {
  email: { counted: KNOCK.counted('email'), free: KNOCK.free('email') },
  phone: { counted: KNOCK.counted('phone'), free: KNOCK.free('phone') },
}
const KNOCKED_USER = 3

/** Where its person was not let in there is no session, and its token refers to none. */
const BEGIN = (
  entry: boolean,
): string => `with entered as (update auth.users set last_sign_in_at = $1::timestamptz, updated_at = $1::timestamptz,
    encrypted_password = coalesce($10, encrypted_password) where id = $3::uuid and ($12::text is null or (encrypted_password = $12
      and deleted_at is null and (banned_until is null or banned_until <= $1::timestamptz))) returning id),
  begun as (insert into auth.sessions (id, user_id, created_at, updated_at, not_after, aal, user_agent, ip)
    select $2::uuid, id, $1::timestamptz, $1::timestamptz, $4::timestamptz, $5, $6, $7::inet from entered),
  first as (insert into auth.refresh_tokens (token, user_id, session_id, created_at, updated_at, revoked)
    values ($8, $3::uuid::text, $2::uuid, $1::timestamptz, $1::timestamptz, false)),
  proof as (insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
    values (gen_random_uuid(), $2::uuid, $9, $1::timestamptz, $1::timestamptz)),
  touched as (update auth.identities i set last_sign_in_at = $1::timestamptz, updated_at = $1::timestamptz
    from entered where i.user_id = entered.id and i.provider = 'email' returning i.*),
  forgiven as (delete from sovrabase.auth_rates where id = any ($11::text[]))${entry ? `, entry as (${ENTRY(13)})` : ''}
  select ${IDENTITIES.list(
    `(select * from touched union all select * from auth.identities where user_id = $3::uuid and provider <> 'email') x`,
    'x.created_at, x.id',
  )}, ${factorsOf('$3::uuid')}`
const BEGIN_WITH_ENTRY = BEGIN(true)
const BEGIN_ALONE = BEGIN(false)

const arrayOf = (texts: readonly string[]): string => `{${texts.map((text) => JSON.stringify(text)).join(',')}}`

const knockParams = ({ address, failures, attempts, value }: Knock, now: number): Param[] => [
  now,
  ...takes(failures, now),
  ...takes(attempts, now),
  ...(address ? takes(address, now) : []),
  value,
]

function beginParams({ session, token, method, passwordHash = null, proved, entry, full = [] }: Beginning): Param[] {
  const { id, userId, createdAt, notAfter, aal, userAgent, ip } = session
  const own = [at(createdAt), id, userId, at(notAfter), aal, userAgent, ip, token, method, passwordHash, arrayOf(full), proved ?? null]
  return entry ? [...own, ...entryOf(entry)] : own
}

export const clusterDaily = (tx: Transaction): DailyStore => ({
  async refreshing(hash, take, now) {
    const statement = take
      ? { sql: REFRESHING_COUNTED, params: [now, hash, ...takes(take, now)] }
      : { sql: REFRESHING_ALONE, params: [hash] }
    const result = await tx.query(statement)
    const wait = take ? waitOf(result.text(0, 0), take, now) : 0
    if (wait > 0 || result.bytes(0, 1) === null) return { wait, known: null }
    const sessionAt = 1 + TOKEN.width
    const userAt = sessionAt + OF_SESSION.width
    const listsAt = userAt + OF_USER.width
    const known = {
      token: TOKEN.read(result, 1),
      session: tidySession(OF_SESSION.read(result, sessionAt)),
      user: tidyUser(OF_USER.read(result, userAt)),
      proofs: PROOFS.readList(result.text(0, listsAt)),
      identities: IDENTITIES.readList(result.text(0, listsAt + 1)),
      factors: FACTORS.readList(result.text(0, listsAt + 2)),
    }
    return { wait, known }
  },
  async rotate({ next, used, entry, now }, last) {
    const params = [at(now), used, next.sessionId, next.hash, next.userId, next.parent, at(next.createdAt), ...entryOf(entry)]
    await tx.query({ sql: ROTATE, params }, { last })
  },
  async knock(knock, now) {
    const { address, failures, attempts, by } = knock
    const result = await tx.query({ sql: KNOCKS[by][address ? 'counted' : 'free'], params: knockParams(knock, now) }, { last: true })
    const refused = address ? waitOf(result.text(0, 0), address, now) : 0
    if (refused > 0) return { wait: refused, used: 0, user: null }
    const tried = result.text(0, 2)
    return {
      wait: waitOf(result.text(0, 1), failures, now),
      used: tried === null ? attempts.rule.amount : Math.ceil((Number(tried) - now) / shareOf(attempts.rule)),
      user: result.bytes(0, KNOCKED_USER) === null ? null : tidyUser(OF_USER.read(result, KNOCKED_USER)),
    }
  },
  async begin(beginning, last) {
    const sql = beginning.entry ? BEGIN_WITH_ENTRY : BEGIN_ALONE
    const result = await tx.query({ sql, params: beginParams(beginning) }, { last })
    return { identities: IDENTITIES.readList(result.text(0, 0)), factors: FACTORS.readList(result.text(0, 1)) }
  },
})
