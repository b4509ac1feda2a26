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
  return (
    reply
      .header('content-security-policy', PAGE_POLICY)
      // Not no-referrer: forms would be sent with `Origin: null`, and could not be told from those of other sites.
      .header('referrer-policy', 'same-origin')
      .header('x-frame-options', 'DENY')
      .header('cache-control', 'no-store')
  )
}

/** onRequest: on every answer. */
export function commonHeaders(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) {
  reply.header('x-content-type-options', 'nosniff')
  reply.header('sb-request-id', request.id)
  done()
}
