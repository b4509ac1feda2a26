import type { FastifyRequest } from 'fastify'

const WAIT_MAX = 60

/** `Prefer: wait=N` (RFC 7240) in ms, 60 s at most; 0 without it. */
export function waitOf(request: FastifyRequest): number {
  const { prefer } = request.headers
  const found = /(?:^|[,;\s])wait=(\d{1,4})/.exec(Array.isArray(prefer) ? prefer.join(',') : (prefer ?? ''))
  return found ? Math.min(Number(found[1]), WAIT_MAX) * 1000 : 0
}
