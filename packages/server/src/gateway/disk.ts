import type { FastifyRequest } from 'fastify'
import type { Space } from '../base/disk-space.ts'
import { fail } from '../base/errors.ts'

/** What makes something large, whatever its request is like. */
const CREATES: ReadonlySet<string> = new Set(['project:create', 'project:copy', 'service:create', 'backup:restore'])
const WRITES: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])
/** Bytes of a body that are no small write. */
const BIG = 64 * 1024

/** No length is any length. */
function isBig({ headers }: FastifyRequest): boolean {
  if (headers['transfer-encoding'] !== undefined) return true
  return Number(headers['content-length'] ?? 0) > BIG
}

/** Keeps the last room of the disk for what runs: PostgreSQL must go on writing its log. Reading, deleting and small writes go on. */
export const refuseWhenLow =
  (space: Space) =>
  async (request: FastifyRequest): Promise<void> => {
    if (!WRITES.has(request.method) || request.is404 || !space.low()) return
    const action = request.routeOptions.config?.action ?? ''
    if (CREATES.has(action) || (action.startsWith('rest:') && isBig(request))) throw fail('disk_low')
  }
