import { nodePg } from '../../../../base/later.ts'
import type { Endpoint } from '../../../driver.ts'
import type { Position } from '../../../history.ts'
import { adminConnection } from '../connections.ts'
import { parseLsn } from './lsn.ts'

/** What is committed has been written to the log before. */
export async function logPosition(at: Endpoint, password: string): Promise<Position> {
  const client = new (nodePg().Client)(adminConnection(at, password))
  await client.connect()
  try {
    const { rows } = await client.query<{ position: string }>('select pg_current_wal_flush_lsn()::text as position')
    return parseLsn(rows[0]?.position ?? '0/0')
  } finally {
    await client.end().catch(() => {})
  }
}
