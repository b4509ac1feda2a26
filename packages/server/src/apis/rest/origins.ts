import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RestSettings } from './settings.ts'

/**
 * `server_cors_allowed_origins`: a page of another origin may not read the answer. It only narrows what the server allows; preflights are
 * answered before a project is looked at, by the server's own list.
 */
export function narrowOrigins({ origins }: RestSettings, request: FastifyRequest, reply: FastifyReply): void {
  const { origin } = request.headers
  if (origins === null || origin === undefined) return
  reply.header('vary', 'Origin')
  if (reply.getHeader('access-control-allow-origin') === undefined) return
  if (origins.has(origin)) reply.header('access-control-allow-origin', origin)
  else reply.removeHeader('access-control-allow-origin').removeHeader('access-control-expose-headers')
}
