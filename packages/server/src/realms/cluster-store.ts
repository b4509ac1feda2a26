import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type SchemableIdentifierNode,
} from 'kysely'
import { fail } from '../base/errors.ts'
import type { Tables } from '../metadata/tables.ts'
import { asSystem } from '../runtime/engines/postgres/as-role.ts'
import type { Cluster } from '../runtime/engines/postgres/cluster.ts'
import type { Param } from '../runtime/engines/postgres/wire/protocol.ts'
import type { Result } from '../runtime/engines/postgres/wire/result.ts'
import type { Transaction } from '../runtime/engines/postgres/wire/transaction.ts'
import { clusterDaily } from './cluster-daily.ts'
import { millis } from './cluster-rows.ts'
import { CLUSTER } from './store/fields.ts'
import { unraced } from './store/raced.ts'
import { sqlStore } from './store/sql-store.ts'
import type { RealmStore } from './store/types.ts'

const OWNER = 'supabase_auth_admin'
/** Tables of our own, beside GoTrue's. */
const OURS = new Set(['auth_mails', 'auth_rates', 'auth_recovery_codes', 'auth_saml_sessions'])

/** `auth_users` → `auth.users`, `auth_mails` → `sovrabase.auth_mails`: the names of metadata become those of a cluster, as they are written. */
class ClusterCompiler extends PostgresQueryCompiler {
  protected override visitSchemableIdentifier(node: SchemableIdentifierNode): void {
    const { name } = node.identifier
    if (node.schema !== undefined || !name.startsWith('auth_')) super.visitSchemableIdentifier(node)
    // Names of tables are ours, never anybody's text.
    else this.append(OURS.has(name) ? `"sovrabase"."${name}"` : `"auth"."${name.slice('auth_'.length)}"`)
  }
}

/** Parameters of a statement that is not worth being prepared. */
const MANY = 64

/** OIDs of pg_type. */
const BOOL = 16
const NUMBERS = new Set([20, 21, 23, 1700])
const TIMESTAMP = 1114
const TIMESTAMPTZ = 1184

function decode(type: number, text: string | null): unknown {
  if (text === null) return null
  if (type === BOOL) return text === 't' ? 1 : 0
  if (NUMBERS.has(type)) return Number(text)
  return type === TIMESTAMPTZ || type === TIMESTAMP ? millis(text) : text
}

function rowsOf(result: Result): Record<string, unknown>[] {
  const columns = result.columns ?? []
  return Array.from({ length: result.rows }, (_, row) =>
    Object.fromEntries(columns.map(({ name, type }, i) => [name, decode(type, result.text(row, i))])),
  )
}

/** Kysely's door to one open transaction of the cluster. */
class TransactionConnection implements DatabaseConnection {
  readonly #tx: Transaction

  constructor(tx: Transaction) {
    this.#tx = tx
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    // A statement of many rows is planned for what is there now: hardly another has as many.
    const once = query.parameters.length > MANY ? { once: true } : {}
    const result = await this.#tx.query({ sql: query.sql, params: query.parameters as readonly Param[], ...once })
    return { rows: rowsOf(result) as R[], numAffectedRows: BigInt(result.affected) }
  }

  // biome-ignore lint/correctness/useYield: the interface wants a generator
  async *streamQuery(): AsyncIterableIterator<never> {
    throw fail('internal', {}, { cause: 'a realm streams nothing' })
  }
}

const noTransaction = async (): Promise<void> => {
  throw fail('internal', {}, { cause: 'the transaction is open already' })
}

function kyselyOver(tx: Transaction): Kysely<Tables> {
  const connection = new TransactionConnection(tx)
  const driver: Driver = {
    init: async () => undefined,
    acquireConnection: async () => connection,
    beginTransaction: noTransaction,
    commitTransaction: noTransaction,
    rollbackTransaction: noTransaction,
    releaseConnection: async () => undefined,
    destroy: async () => undefined,
  }
  return new Kysely<Tables>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => driver,
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new ClusterCompiler(),
    },
  })
}

/** The ways of every day need no more than the transaction; what is built for all others is built by the first of them. */
function storeOver(tx: Transaction): RealmStore {
  let whole: RealmStore | null = null
  const known: object = clusterDaily(tx)
  return new Proxy(known, {
    get(target, name: keyof RealmStore) {
      if (name in target) return (target as RealmStore)[name]
      whole ??= sqlStore(kyselyOver(tx), CLUSTER)
      return whole[name]
    },
  }) as RealmStore
}

/**
 * Runs `fn` in one transaction of a project's cluster, as the role that owns `auth.*`: people's triggers and foreign keys on it work, and
 * nobody's row-level security stands in the way. Raced by another (a deadlock, a key), `fn` runs again from its beginning. Errors as
 * `PipelinePool.transaction`.
 */
export const clusterTransaction = <R>({ pool }: Pick<Cluster, 'pool'>, fn: (store: RealmStore) => Promise<R>): Promise<R> =>
  unraced(() => asSystem(pool, OWNER, 'auth', (tx) => fn(storeOver(tx))))
