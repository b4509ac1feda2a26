import type { FastifyReply, FastifyRequest } from 'fastify'
import { header } from './prepare.ts'
import type { RestSettings } from './settings.ts'

/** `server_trace_header`: the answer has the request's header of this name, empty where the request has none. */
export function repeatTraceHeader({ traceHeader }: RestSettings, request: FastifyRequest, reply: FastifyReply): void {
  if (traceHeader !== null) reply.header(traceHeader, header(request, traceHeader) ?? '')
}
