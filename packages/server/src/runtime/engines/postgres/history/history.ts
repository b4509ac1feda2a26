import type { Endpoint } from '../../../driver.ts'
import type { History, HistoryBase } from '../../../history.ts'
import type { Service } from '../../../services.ts'
import { copyBase } from '../base-backup.ts'
import { secretOf, setForRun } from '../connections.ts'
import { ADMIN } from '../names.ts'
import type { WorkloadOptions } from '../workload.ts'
import { followLog, forgetLog, replicationClient, segmentSize } from './follow.ts'
import { parseLsn, segmentName } from './lsn.ts'
import { logPosition } from './position.ts'
import { recoverCluster, recoveryWorkload } from './recover.ts'
import { uploadManifest } from './upload-manifest.ts'

/** What is kept for the archive while its place is away, and how changed blocks are known. */
const FOR_ARCHIVES = { max_slot_wal_keep_size: '1GB', summarize_wal: 'on' }

async function takeBase(
  at: Endpoint,
  password: string,
  { manifest, parent }: { manifest: boolean; parent: Buffer | null },
): Promise<HistoryBase> {
  const client = await replicationClient(at, password)
  try {
    const segment = await segmentSize(client)
    if (parent) await uploadManifest(client, parent)
    const options = `WAL false, WAIT false, MANIFEST '${manifest ? 'yes' : 'no'}'${parent ? ', INCREMENTAL' : ''}`
    const { tar, result } = copyBase(client, options)
    const made = result.then(({ start, stop, manifest: text }) => ({
      timeline: Number(start[1]),
      start: parseLsn(start[0]),
      stop: parseLsn(stop[0]),
      segment,
      manifest: manifest ? text : null,
    }))
    made.catch(() => {})
    return { tar, made }
  } catch (error) {
    await client.end().catch(() => {})
    throw error
  }
}

/** PostgreSQL's write-ahead log as the history of a cluster. */
export function postgresHistory(bootstrap: string, options: WorkloadOptions): History {
  const password = (service: Service) => secretOf(service, ADMIN)
  return {
    async follow(at, service, given) {
      await setForRun(at, password(service), FOR_ARCHIVES)
      return await followLog(at, password(service), given)
    },
    position: (at, service) => logPosition(at, password(service)),
    forget: (at, service) => forgetLog(at, password(service)),
    base: (at, service, given) => takeBase(at, password(service), given),
    file: (timeline, position, segment) => `pg_wal/${segmentName(timeline, position, segment)}`,
    recovery: (service, time) => recoveryWorkload(service, time, options),
    recover: (at, given) => recoverCluster(at, bootstrap, given),
  }
}
