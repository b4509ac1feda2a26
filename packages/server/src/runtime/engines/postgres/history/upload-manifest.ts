import type pg from 'pg'
import { fail } from '../../../../base/errors.ts'

interface Connection {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

const STEP = 1 << 16

/** UPLOAD_MANIFEST: what the base backup that comes next on this connection is measured against. */
export function uploadManifest(client: pg.Client, manifest: Buffer): Promise<void> {
  const done = Promise.withResolvers<void>()
  let connection: Connection | null = null
  const query = {
    submit(given: Connection): void {
      connection = given
      given.query('UPLOAD_MANIFEST')
    },
    handleRowDescription(): void {},
    handleDataRow(): void {},
    handleCommandComplete(): void {},
    handleEmptyQuery(): void {},
    handlePortalSuspended(): void {},
    handleCopyData(): void {},
    handleCopyInResponse(): void {
      for (let at = 0; at < manifest.length; at += STEP) connection?.sendCopyFromChunk(manifest.subarray(at, at + STEP))
      connection?.endCopyFrom()
    },
    handleError: (error: Error) => done.reject(fail('parcel_failed', { reason: error.message }, { cause: error })),
    handleReadyForQuery: () => done.resolve(),
  }
  client.query(query as unknown as pg.Submittable)
  return done.promise
}
