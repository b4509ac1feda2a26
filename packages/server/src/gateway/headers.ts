import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'

/** Our own pages: no script but our own files, framed by nobody, forms to this site only. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ')

/** For an answer that is a page of ours. */
export function pageHeaders(reply: FastifyReply): FastifyReply {
  return reply
    .header('content-security-policy', PAGE_POLICY)
    .header('referrer-policy', 'no-referrer')
    .header('x-frame-options', 'DENY')
    .header('cache-control', 'no-store')
}

/** For an answer that carries people's content on an origin that others share: a browser gives it an origin of its own and runs nothing. */
export const sandboxHeaders = (reply: FastifyReply): FastifyReply => reply.header('content-security-policy', 'sandbox')

/** onRequest: on every answer. */
export function commonHeaders(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) {
  reply.header('x-content-type-options', 'nosniff')
  reply.header('sb-request-id', request.id)
  done()
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** The caller's trace (W3C Trace Context) to hand on; undefined: none, or not well formed. */
export function traceparentOf(request: FastifyRequest): string | undefined {
  const { traceparent } = request.headers
  return typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : undefined
}
