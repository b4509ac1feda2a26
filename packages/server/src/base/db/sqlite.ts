import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import { fail } from '../errors.ts'
import { isBusy, unavailable } from './errors.ts'

/** How long a statement waits for another process's write lock, ms. */
const BUSY_PATIENCE = 15_000
/** SQLite itself waits on the thread of JavaScript: so only briefly there, then by the clock of the event loop. */
const BUSY_BLOCKING = 20
const BUSY_PAUSE = 10
const PRIVATE = 0o600

const SETTINGS = [
  'pragma journal_mode = wal',
  // FULL: a revoked key stays revoked when the power fails.
  'pragma synchronous = full',
  'pragma foreign_keys = on',
  `pragma busy_timeout = ${BUSY_BLOCKING}`,
  'pragma journal_size_limit = 16777216',
]

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** First come, first served: a transaction is never interleaved with other statements, and nobody starves. */
class FairMutex {
  #held = false
  readonly #waiting: (() => void)[] = []

  async take(): Promise<void> {
    if (this.#held) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#held = true
  }

  give(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#held = false
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #db: DatabaseSync

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  #run<R>({ sql, parameters }: CompiledQuery): QueryResult<R> {
    const statement = this.#db.prepare(sql)
    const values = parameters as readonly SQLInputValue[]
    if (statement.columns().length > 0) {
      // Plain objects, as the other databases give them (SQLite's have no prototype).
      return { rows: statement.all(...values).map((row) => ({ ...row })) as R[] }
    }
    const { changes, lastInsertRowid } = statement.run(...values)
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) }
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const end = Date.now() + BUSY_PATIENCE
    for (;;) {
      try {
        return this.#run<R>(query)
      } catch (error) {
        // Within a transaction the write lock is ours already (BEGIN IMMEDIATE): busy is only ever met before one.
        if (!isBusy(error)) throw error
        if (Date.now() > end) throw unavailable('another process holds its lock', error)
      }
      await pause(BUSY_PAUSE * (0.5 + Math.random()))
    }
  }

  // biome-ignore lint/correctness/useYield: nothing here streams; Kysely asks for the method
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw fail('internal')
  }
}

const raw = (sql: string): CompiledQuery => ({ sql, parameters: [], query: { kind: 'RawNode' }, queryId: { queryId: sql } }) as never

class SqliteDriver implements Driver {
  readonly #file: string
  readonly #mutex = new FairMutex()
  #db: DatabaseSync | undefined
  #connection: SqliteConnection | undefined

  constructor(file: string) {
    this.#file = file
  }

  async init(): Promise<void> {
    if (this.#file !== ':memory:') closeSync(openSync(this.#file, 'a', PRIVATE))
    const db = new DatabaseSync(this.#file)
    const connection = new SqliteConnection(db)
    try {
      for (const setting of SETTINGS) await connection.executeQuery(raw(setting))
    } catch (error) {
      db.close()
      throw error
    }
    this.#db = db
    this.#connection = connection
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    await this.#mutex.take()
    return this.#connection!
  }

  async releaseConnection(): Promise<void> {
    this.#mutex.give()
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    // Immediate: a transaction that begins by reading and writes later would fail when another process wrote in between.
    await connection.executeQuery(raw('begin immediate'))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(raw('commit'))
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(raw('rollback'))
  }

  async destroy(): Promise<void> {
    await this.#mutex.take()
    if (this.#db?.isOpen) this.#db.close()
  }
}

/** The mutex is ours, so Kysely need not put its own around it. */
class Adapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true
  }
}

/** SQLite over node:sqlite: one connection a process, WAL, foreign keys; the file is made 0600. ':memory:' is one's own. */
export function sqliteDialect(file: string): Dialect {
  return {
    createDriver: () => new SqliteDriver(file),
    createAdapter: () => new Adapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: (handle) => new SqliteIntrospector(handle),
  }
}
