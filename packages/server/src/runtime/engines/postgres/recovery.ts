import type { Endpoint, Workload } from '../../driver.ts'
import type { Service } from '../../services.ts'
import { ADMIN, DATABASE } from './names.ts'
import { waitUntilReady } from './ready.ts'
import { adminVerifier } from './roles.ts'
import type { PostgresSpec } from './spec.ts'
import { postgresWorkload, type WorkloadOptions } from './workload.ts'

/** Our superuser alone, without a password: for a start that nobody else knows of, in a directory that only the driver enters. */
const RECOVERY_HBA = `local ${DATABASE} ${ADMIN} trust\nlocal all all reject\n`

/** Quoted; plain tables that outlive a crash. */
const TABLES = `select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relkind = 'r' and relpersistence = 'p' and nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 1`

export const onlyUs = (files: Workload['files']): Workload['files'] => ({ ...files, 'pg_hba.conf': RECOVERY_HBA })

/** For clusters whose passwords are lost with the root key: afterwards they are as fresh copies of the template, and their next wake gives them new ones. */
export interface Recovery {
  workload(service: Service): Workload
  reset(at: Endpoint): Promise<void>
  /** Tables of people and of ours, and their rows. */
  count(at: Endpoint): Promise<{ readonly tables: number; readonly rows: number }>
}

export const postgresRecovery = (bootstrap: string, options: WorkloadOptions): Recovery => ({
  workload(service) {
    const { template: _none, ...workload } = postgresWorkload(service as Service<Partial<PostgresSpec>>, options)
    return { ...workload, files: onlyUs(workload.files) }
  },
  async count(at) {
    const client = await waitUntilReady(at, [bootstrap])
    try {
      const { rows: tables } = (await client?.query<{ name: string }>(TABLES)) ?? { rows: [] }
      let rows = 0
      // A table's own rows run no code of anybody's: rules of views do, and they are none.
      for (const { name } of tables) rows += Number((await client?.query(`select count(*) as n from only ${name}`))?.rows[0]?.n ?? 0)
      return { tables: tables.length, rows }
    } finally {
      await client?.end()
    }
  },
  async reset(at) {
    const client = await waitUntilReady(at, [bootstrap])
    try {
      await client?.query(`alter role ${ADMIN} login password '${adminVerifier(bootstrap)}'`)
    } finally {
      await client?.end()
    }
  },
})
