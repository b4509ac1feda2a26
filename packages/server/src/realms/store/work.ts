import { type Kysely, sql } from 'kysely'
import { insertIfAbsent } from '../../base/db/insert.ts'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Tables } from '../../metadata/tables.ts'
import { type Codec, type Fields, fromRow, rowOf } from './fields.ts'
import type { AuditEntry, AuditSearch, Json, Mail, WorkStore } from './types.ts'

const MAIL: Fields<Mail> = {
  id: ['id', 'text'],
  userId: ['user_id', 'text'],
  kind: ['kind', 'text'],
  recipient: ['recipient', 'text'],
  subject: ['subject', 'text'],
  html: ['html', 'text'],
  text: ['body', 'text'],
  state: ['state', 'text'],
  attempts: ['attempts', 'number'],
  dueAt: ['due_at', 'time'],
  expiresAt: ['expires_at', 'time'],
  createdAt: ['created_at', 'time'],
  sentAt: ['sent_at', 'time'],
  lastError: ['last_error', 'text'],
}

const AUDIT: Fields<AuditEntry> = {
  id: ['id', 'text'],
  payload: ['payload', 'json'],
  createdAt: ['created_at', 'time'],
  ip: ['ip_address', 'text'],
}

const mailOf = (row: object): Mail => fromRow(MAIL, row)

type Mails = Pick<WorkStore, 'insertMail' | 'mails' | 'countMails' | 'claimMails' | 'nextMail' | 'updateMail'>

export const mails = (db: Kysely<Tables>, codec: Codec): Mails => ({
  async insertMail(mail) {
    await db
      .insertInto('auth_mails')
      .values(rowOf(MAIL, mail, codec))
      .execute()
  },
  async mails({ limit, offset }) {
    const query = db.selectFrom('auth_mails').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc')
    return (await query.limit(limit).offset(offset).execute()).map(mailOf)
  },
  async countMails(state, now) {
    const query = db.selectFrom('auth_mails').select((eb) => eb.fn.countAll<number>().as('n'))
    const row = await query.where('state', '=', state).where('expires_at', '>', codec.at(now)).executeTakeFirstOrThrow()
    return Number(row.n)
  },
  async claimMails(now, until, limit, kinds) {
    if (kinds.length === 0) return []
    const at = codec.at(now)
    const open = db.selectFrom('auth_mails').selectAll().where('state', 'in', ['waiting', 'sending'])
    const query = open.where('kind', 'in', [...kinds]).where('due_at', '<=', at)
    const due = await query.where('expires_at', '>', at).orderBy('due_at').limit(limit).execute()
    const claimed: Mail[] = []
    for (const row of due) {
      // Optimistic: of several nodes that try, one finds the row as it was read.
      const claim = db.updateTable('auth_mails').set({ state: 'sending', due_at: codec.at(until), attempts: row.attempts + 1 })
      const won = await claim.where('id', '=', row.id).where('attempts', '=', row.attempts).executeTakeFirst()
      if (won.numUpdatedRows > 0n) claimed.push({ ...mailOf(row), state: 'sending', attempts: row.attempts + 1 })
    }
    return claimed
  },
  async nextMail(now, kinds) {
    if (kinds.length === 0) return null
    const open = db.selectFrom('auth_mails').select('due_at').where('state', 'in', ['waiting', 'sending'])
    const query = open.where('kind', 'in', [...kinds])
    return (await query.where('expires_at', '>', codec.at(now)).orderBy('due_at').limit(1).executeTakeFirst())?.due_at ?? null
  },
  async updateMail(id, patch) {
    await db
      .updateTable('auth_mails')
      .set(rowOf<Mail>(MAIL, patch, codec))
      .where('id', '=', id)
      .execute()
  },
})

type Audit = Pick<WorkStore, 'audit' | 'auditEntries' | 'countAuditEntries'>

const literal = (text: string): string => text.replace(/[!%_]/g, '!$&')

/** In metadata payloads are compact JSON: a field that begins with a text is itself a text in it. */
function searched(search: AuditSearch | undefined, codec: Codec) {
  if (!search) return sql<boolean>`1 = 1`
  const { fields, text } = search
  const tests = fields.map((field) =>
    codec.callsFunctions
      ? sql`payload->>${sql.lit(field)} ilike ${`%${literal(text)}%`} escape '!'`
      : sql`payload like ${`%"${field}":"${literal(JSON.stringify(text).slice(1, -1))}%`} escape '!'`,
  )
  return sql<boolean>`(${sql.join(tests, sql` or `)})`
}

export const auditLog = (db: Kysely<Tables>, codec: Codec): Audit => ({
  async audit(entry) {
    await db
      .insertInto('auth_audit_log_entries')
      .values(rowOf(AUDIT, entry, codec))
      .execute()
  },
  async auditEntries({ limit, offset }, search) {
    const query = db.selectFrom('auth_audit_log_entries').selectAll().where(searched(search, codec))
    const rows = await query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).offset(offset).execute()
    return rows.map((row) => fromRow<AuditEntry>(AUDIT, row))
  },
  async countAuditEntries(search) {
    const query = db.selectFrom('auth_audit_log_entries').select((eb) => eb.fn.countAll<number>().as('n'))
    return Number((await query.where(searched(search, codec)).executeTakeFirstOrThrow()).n)
  },
})

/** How long a function of the project's own may take. */
const HOOK_PATIENCE = 2_000
/** query_canceled */
const CANCELLED = '57014'

async function callFunction(db: Kysely<Tables>, codec: Codec, schema: string, name: string, payload: Json): Promise<Json> {
  const uri = `pg-functions://postgres/${schema}/${name}`
  if (!codec.callsFunctions) throw fail('auth_hook_failed', { uri }, { cause: 'there are no functions in metadata' })
  try {
    const before = await sql<{ was: string }>`select current_setting('statement_timeout') as was,
      set_config('statement_timeout', ${String(HOOK_PATIENCE)}, true) as now`.execute(db)
    const called = await sql<{
      answer: string | null
    }>`select ${sql.id(schema, name)}(${JSON.stringify(payload)}::jsonb)::jsonb as answer`.execute(db)
    await sql`select set_config('statement_timeout', ${before.rows[0]?.was ?? '0'}, true)`.execute(db)
    return Object(JSON.parse(called.rows[0]?.answer ?? '{}')) as Json
  } catch (cause) {
    if (isSovraError(cause, 'database_error') && (cause.details as { sqlstate?: string }).sqlstate === CANCELLED)
      throw fail('auth_hook_timeout', { seconds: HOOK_PATIENCE / 1000 }, { cause })
    throw fail('auth_hook_failed', { uri }, { cause })
  }
}

export const work = (db: Kysely<Tables>, codec: Codec): Omit<WorkStore, keyof Mails | keyof Audit | 'sweep'> => ({
  callFunction: (schema, name, payload) => callFunction(db, codec, schema, name, payload),
  async used(id, { amount, window }, now) {
    const row = await db.selectFrom('auth_rates').select('full_at').where('id', '=', id).executeTakeFirst()
    return row === undefined || row.full_at <= now || row.full_at > now + window
      ? 0
      : Math.ceil((row.full_at - now) / Math.ceil(window / amount))
  },
  async take(id, { amount, window }, now) {
    const step = Math.ceil(window / amount)
    const refused = async (): Promise<number> => {
      const row = await db.selectFrom('auth_rates').select('full_at').where('id', '=', id).executeTakeFirst()
      return Math.max(1, (row?.full_at ?? now) + step - window - now)
    }
    // A bucket is one number: when it will be full again. Taking moves that by one share, and is refused where it would lie beyond the window.
    // One that lies further away was written before the clock was put back: it would lock people out until then.
    const far = now + window
    const from = sql<number>`case when full_at < ${now} or full_at > ${far} then ${now} else full_at end`
    if (codec.upserts) {
      const share = (eb: { ref: (name: 'auth_rates.full_at') => unknown }) => {
        const full = eb.ref('auth_rates.full_at')
        return sql<number>`case when ${full} < ${now} or ${full} > ${far} then ${now} else ${full} end + ${step}`
      }
      const made = await db
        .insertInto('auth_rates')
        .values({ id, full_at: now + step })
        .onConflict((conflict) =>
          conflict
            .column('id')
            .doUpdateSet({ full_at: share })
            .where((eb) => eb.or([eb('auth_rates.full_at', '<=', far - step), eb('auth_rates.full_at', '>', far)])),
        )
        .executeTakeFirst()
      return Number(made.numInsertedOrUpdatedRows ?? 0n) > 0 ? 0 : refused()
    }
    for (let round = 0; round < 2; round++) {
      const taken = await db
        .updateTable('auth_rates')
        .set({ full_at: sql<number>`${from} + ${step}` })
        .where('id', '=', id)
        .where((eb) => eb.or([eb('full_at', '<=', far - step), eb('full_at', '>', far)]))
        .executeTakeFirst()
      if (taken.numUpdatedRows > 0n) return 0
      if (await insertIfAbsent(db, 'auth_rates', { id, full_at: now + step })) return 0
    }
    return refused()
  },
  async isFirst(id, until, now) {
    if (codec.upserts) {
      const made = await db
        .insertInto('auth_rates')
        .values({ id, full_at: until })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ full_at: until }).where('auth_rates.full_at', '<=', now))
        .executeTakeFirst()
      return Number(made.numInsertedOrUpdatedRows ?? 0n) > 0
    }
    const over = await db
      .updateTable('auth_rates')
      .set({ full_at: until })
      .where('id', '=', id)
      .where('full_at', '<=', now)
      .executeTakeFirst()
    return over.numUpdatedRows > 0n || (await insertIfAbsent(db, 'auth_rates', { id, full_at: until }))
  },
  async giveBack(id) {
    await db.deleteFrom('auth_rates').where('id', '=', id).execute()
  },
})
