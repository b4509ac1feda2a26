import { AsyncLocalStorage } from 'node:async_hooks'
import type { CompiledQuery, DatabaseConnection, Dialect, Driver, QueryResult, TransactionSettings } from 'kysely'
import { fail } from '../errors.ts'
import { describeConnection, isConnectionLoss } from './errors.ts'

/** Set while the body of a transaction runs: whatever it calls must use the transaction's own handle. */
export type Scope = AsyncLocalStorage<{ open: boolean }>
export const makeScope = (): Scope => new AsyncLocalStorage()

const READS = 3
/** Long enough for the pool to hear of the other connections that ended with it. */
const PAUSE = 20

class GuardedConnection implements DatabaseConnection {
  inner: DatabaseConnection
  inTransaction = false
  /** The inner one is back in the pool, and no other could be had. */
  released = false
  readonly #replace: (broken: DatabaseConnection) => Promise<DatabaseConnection>

  constructor(inner: DatabaseConnection, replace: (broken: DatabaseConnection) => Promise<DatabaseConnection>) {
    this.inner = inner
    this.#replace = replace
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    for (let tried = 1; ; tried++) {
      try {
        return await this.inner.executeQuery<R>(query)
      } catch (error) {
        // A read outside of transactions that met a connection which had ended meanwhile is simply asked again, on another one.
        const again = !this.inTransaction && query.query.kind === 'SelectQueryNode' && isConnectionLoss(error) && tried < READS
        if (!again) throw describeConnection(error)
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE))
      const broken = this.inner
      this.released = true
      this.inner = await this.#replace(broken)
      this.released = false
    }
  }

  streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.inner.streamQuery<R>(query, chunkSize)
  }
}

/**
 * Around a Kysely driver: a statement sent beside an open transaction from within it is refused (on SQLite it would wait for itself, on the
 * others it would not see the transaction's rows); lost connections have one error on all databases.
 */
class GuardedDriver implements Driver {
  readonly #inner: Driver
  readonly #scope: Scope

  constructor(inner: Driver, scope: Scope) {
    this.#inner = inner
    this.#scope = scope
  }

  init(): Promise<void> {
    return this.#inner.init()
  }

  async #acquire(): Promise<DatabaseConnection> {
    try {
      return await this.#inner.acquireConnection()
    } catch (error) {
      throw describeConnection(error)
    }
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#scope.getStore()?.open) throw fail('statement_outside_transaction')
    return new GuardedConnection(await this.#acquire(), async (broken) => {
      await this.#inner.releaseConnection(broken)
      return this.#acquire()
    })
  }

  async beginTransaction(connection: GuardedConnection, settings: TransactionSettings): Promise<void> {
    connection.inTransaction = true
    try {
      await this.#inner.beginTransaction(connection.inner, settings)
    } catch (error) {
      connection.inTransaction = false
      throw describeConnection(error)
    }
  }

  async commitTransaction(connection: GuardedConnection): Promise<void> {
    try {
      await this.#inner.commitTransaction(connection.inner)
    } catch (error) {
      throw describeConnection(error)
    }
    connection.inTransaction = false
  }

  async rollbackTransaction(connection: GuardedConnection): Promise<void> {
    connection.inTransaction = false
    // Fails only with the connection, which the pool then throws away; the error that led here is the one to tell.
    await this.#inner.rollbackTransaction(connection.inner).catch(() => {})
  }

  async releaseConnection(connection: GuardedConnection): Promise<void> {
    if (!connection.released) await this.#inner.releaseConnection(connection.inner)
  }

  destroy(): Promise<void> {
    return this.#inner.destroy()
  }
}

/** The dialect with its driver guarded. */
export function guarded(dialect: Dialect, scope: Scope): Dialect {
  return {
    createDriver: () => new GuardedDriver(dialect.createDriver(), scope),
    createAdapter: () => dialect.createAdapter(),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createIntrospector: (db) => dialect.createIntrospector(db),
  }
}
