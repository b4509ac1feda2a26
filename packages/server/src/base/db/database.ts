import { Kysely, type Transaction } from 'kysely'
import { isConflict, isConnectionLoss } from './errors.ts'
import { guarded, makeScope } from './guard.ts'
import { type MysqlOptions, mysqlDialect } from './mysql.ts'
import { listen, type PostgresqlOptions, postgresqlDialect } from './postgresql.ts'
import { sqliteDialect } from './sqlite.ts'

export type DialectName = 'sqlite' | 'postgresql' | 'mysql'

export interface SqliteOptions {
  readonly type: 'sqlite'
  /** Path, or ':memory:'. */
  readonly file: string
}

export type DatabaseOptions = SqliteOptions | PostgresqlOptions | MysqlOptions

/** One database behind Kysely, the same to its users on all three dialects. */
export interface Database<T> {
  readonly dialect: DialectName
  readonly kysely: Kysely<T>
  /**
   * Runs `fn` in one transaction (READ COMMITTED; on SQLite BEGIN IMMEDIATE, alone). After a deadlock, a serialisation failure or a connection
   * lost before COMMIT it is run again from its beginning, so it must change nothing but the database. A connection lost *during* COMMIT is
   * answered as an error: whether it was done is unknown. Within `fn` only `trx` may be used, and nothing but the database be awaited.
   */
  transaction<R>(fn: (trx: Transaction<T>) => Promise<R>): Promise<R>
  /** PostgreSQL only: hears a channel; `connected` each time that the connection stands (again). Answers how to end it. */
  listen?(channel: string, heard: (payload: string) => void, connected: () => void): () => Promise<void>
  close(): Promise<void>
}

const MOST_ATTEMPTS = 6
const FIRST_PAUSE = 20

const pause = (attempt: number) => new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE * 2 ** attempt * (0.5 + Math.random())))

function dialectOf(options: DatabaseOptions) {
  if (options.type === 'sqlite') return sqliteDialect(options.file)
  return options.type === 'postgresql' ? postgresqlDialect(options) : mysqlDialect(options)
}

/** Opens lazily: a server that does not answer is met by the first statement (`metadata_unavailable`), and again tried by the next. */
export function openDatabase<T>(options: DatabaseOptions): Database<T> {
  const scope = makeScope()
  const kysely = new Kysely<T>({ dialect: guarded(dialectOf(options), scope) })

  async function attempt<R>(fn: (trx: Transaction<T>) => Promise<R>, state: { open: boolean; finished: boolean }): Promise<R> {
    return kysely.transaction().execute(async (trx) => {
      try {
        const result = await scope.run(state, () => fn(trx))
        state.finished = true
        return result
      } finally {
        state.open = false
      }
    })
  }

  return {
    dialect: options.type,
    kysely,
    async transaction(fn) {
      for (let tried = 1; ; tried++) {
        const state = { open: true, finished: false }
        try {
          return await attempt(fn, state)
        } catch (error) {
          const again = isConflict(error) || (isConnectionLoss(error) && !state.finished)
          if (!again || tried >= MOST_ATTEMPTS) throw error
        }
        await pause(tried)
      }
    },
    ...(options.type === 'postgresql'
      ? { listen: (channel: string, heard: (payload: string) => void, connected: () => void) => listen(options, channel, heard, connected) }
      : {}),
    close: () => kysely.destroy(),
  }
}
