import type { Endpoint, Workload } from '../../driver.ts'
import type { Service } from '../../services.ts'
import { ADMIN, DATABASE } from './names.ts'
import { waitUntilReady } from './ready.ts'
import { adminVerifier } from './roles.ts'
import type { PostgresSpec } from './spec.ts'
import { postgresWorkload, type WorkloadOptions } from './workload.ts'

/** Our superuser alone, without a password: for a start that nobody else knows of, in a directory that only the driver enters. */
const RECOVERY_HBA = `local ${DATABASE} ${ADMIN} trust\nlocal all all reject\n`

export const onlyUs = (files: Workload['files']): Workload['files'] => ({ ...files, 'pg_hba.conf': RECOVERY_HBA })

/** For clusters whose passwords are lost with the root key: afterwards they are as fresh copies of the template, and their next wake gives them new ones. */
export interface Recovery {
  workload(service: Service): Workload
  reset(at: Endpoint): Promise<void>
}

export const postgresRecovery = (bootstrap: string, options: WorkloadOptions): Recovery => ({
  workload(service) {
    const { template: _none, ...workload } = postgresWorkload(service as Service<Partial<PostgresSpec>>, options)
    return { ...workload, files: onlyUs(workload.files) }
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
