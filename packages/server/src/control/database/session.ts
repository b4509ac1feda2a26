import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { fail, isSovraError, type SovraError } from '../../base/errors.ts'
import { nodePg } from '../../base/later.ts'
import type { Cluster } from '../../runtime/engines/postgres/cluster.ts'
import { secretOf } from '../../runtime/engines/postgres/connections.ts'
import { DATABASE, OWNER } from '../../runtime/engines/postgres/names.ts'
import type { Control } from '../context.ts'
import { type Place, sqlError } from './sql-error.ts'

const CONNECT_MS = 10_000
/** A statement that catches its cancellation is ended with its session after this many ms. */
const GRACE = 2_000
/** ms between two cancels of one session. */
const AGAIN = 50

export interface Notice {
  readonly severity: string
  readonly message: string
}

/** A session of its own in a project's cluster, as its owner: what people's SQL does to it ends with it. */
export interface Session {
  readonly client: pg.Client
  readonly cluster: Cluster
  readonly notices: readonly Notice[]
  /** 'I' idle, 'T' in a transaction, 'E' in one that failed. */
  readonly status: string
  /** Rejects with `sql_failed`. */
  query<R extends object>(text: string, values?: readonly unknown[]): Promise<R[]>
  /** Ends what runs: cancels it, then the session where that does not help. */
  cancel(): void
  close(): Promise<void>
}

export interface SessionOptions {
  /** What the project is awake for. */
  readonly reason: string
  /** `application_name`. */
  readonly name?: string
}

/** Notices kept of one session. */
const MAX_NOTICES = 100

/** What went wrong with SQL, in our words; `place` is where its text lies within what people sent. */
export const told = (error: unknown, place?: Place): SovraError => {
  if (isSovraError(error)) return error
  return error instanceof nodePg().DatabaseError
    ? sqlError(error, place)
    : fail('connection_lost', { reason: 'the session was ended' }, { cause: error })
}

/** Wakes the project and signs in. Whoever opens one closes it. */
export async function openSession({ connector }: Control, ref: string, { reason, name }: SessionOptions): Promise<Session> {
  const hold = await connector.hold(ref, 'db', reason)
  const cluster = hold.attached<Cluster>()
  const notices: Notice[] = []
  let status = 'I'
  let closed = false
  const client = new (nodePg().Client)({
    ...{ host: hold.endpoint.host, port: hold.endpoint.port, database: DATABASE, user: OWNER },
    ...{ password: secretOf(hold.service, OWNER), application_name: name ?? 'sovra', connectionTimeoutMillis: CONNECT_MS },
  })
  client.on('error', () => undefined)
  client.on('notice', ({ severity = 'NOTICE', message = '' }) => {
    if (notices.length < MAX_NOTICES) notices.push({ severity, message })
  })
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter }
  connection.on('readyForQuery', (message: { status: string }) => {
    status = message.status
  })
  let pid = 0
  try {
    await client.connect()
    pid = (await client.query<{ pid: number }>('select pg_catalog.pg_backend_pid() as pid')).rows[0]?.pid ?? 0
  } catch (error) {
    await client.end().catch(() => undefined)
    hold.release()
    throw told(error)
  }
  const signal = (how: 'cancel' | 'terminate') =>
    cluster.admin((admin) => admin.query(`select pg_${how}_backend($1)`, [pid])).catch(() => undefined)
  return {
    client,
    cluster,
    notices,
    get status() {
      return status
    },
    async query<R extends object>(text: string, values: readonly unknown[] = []) {
      try {
        return (await client.query<R>(text, [...values])).rows
      } catch (error) {
        throw told(error)
      }
    },
    cancel() {
      void signal('cancel')
      setTimeout(() => closed || void signal('terminate'), GRACE).unref()
    },
    async close() {
      if (closed) return
      closed = true
      await client.end().catch(() => undefined)
      // Who changed a role's settings here finds them in force by the next request.
      await cluster.catalogue.look().catch(() => undefined)
      hold.release()
    },
  }
}

/** A session for as long as `work` takes. */
export async function withSession<R>(
  control: Control,
  ref: string,
  options: SessionOptions,
  work: (session: Session) => Promise<R>,
): Promise<R> {
  const session = await openSession(control, ref, options)
  try {
    return await work(session)
  } finally {
    await session.close()
  }
}

const signalNamed = (how: 'cancel' | 'terminate') =>
  `select pg_catalog.pg_${how}_backend(pid) from pg_catalog.pg_stat_activity where application_name = $1`

/**
 * Cancels what the session of this name runs until the session has ended, since a cancel that comes between two statements is lost; ends it
 * where that does not help. False: there is none.
 */
export async function cancelNamed(session: Session, name: string): Promise<boolean> {
  const end = Date.now() + GRACE
  for (let tries = 0; ; tries++) {
    const late = Date.now() > end
    const found = await session.query(signalNamed(late ? 'terminate' : 'cancel'), [name])
    if (found.length === 0) return tries > 0
    if (late) return true
    await pause(AGAIN)
  }
}
