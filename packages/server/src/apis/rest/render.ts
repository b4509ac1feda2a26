import type { FastifyReply, FastifyRequest } from 'fastify'
import { fail, type SovraError } from '../../base/errors.ts'
import { renderError } from './errors.ts'
import { grantHint } from './hints.ts'
import type { RestOptions } from './options.ts'
import { narrowOrigins } from './origins.ts'
import { contentLocation } from './parse/canonical.ts'
import type { Plan } from './plan/types.ts'
import { header, queryOf } from './prepare.ts'
import { spaceOf } from './space.ts'
import { repeatTraceHeader } from './trace-header.ts'

const METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'POST', 'PATCH', 'PUT', 'DELETE'])
const CALLED = /\/rpc\/[^/?]+(\?|$)/

/** What the project's database says of answers; undefined where it is asleep or none was found. */
function settingsOf(options: RestOptions, request: FastifyRequest) {
  const catalogue = request.trace?.catalogue ?? options.known(request)
  return catalogue && spaceOf(catalogue, options.settings(request)).settings
}

function readHeaders({ action, name, applied }: Plan, request: FastifyRequest): Record<string, string> {
  const location = action === 'read' ? contentLocation(name, queryOf(request.url)) : null
  return {
    ...(location === null ? {} : { 'content-location': location }),
    ...(applied === '' ? {} : { 'preference-applied': applied }),
  }
}

export function render(options: RestOptions, error: SovraError, request: FastifyRequest, reply: FastifyReply): unknown {
  const { trace } = request
  const { method } = request
  if (error.code === 'method_not_allowed' || (error.code === 'not_found' && !METHODS.has(method))) {
    const refused = fail(CALLED.test(request.url) ? 'PGRST101' : 'PGRST117', { method }, { headers: error.headers })
    return render(options, refused, request, reply)
  }
  if (error.code === 'unsupported_media_type') {
    const reason = `Content-Type not acceptable: ${header(request, 'content-type') ?? ''}`
    return render(options, fail('PGRST102', { reason }), request, reply)
  }
  const principal = trace ? (trace.caller ?? options.principal(request)) : null
  const role = principal?.role ?? 'anon'
  const caller = { role, authenticated: role !== 'anon' && principal?.kind !== 'anon', shared: options.shared(request) }
  const rendered = renderError(error, caller, (fields) =>
    trace?.catalogue ? grantHint(fields, role, trace.plan, trace.catalogue, trace.schema) : null,
  )
  // A read beyond its last row is answered as a read, with an error for a body.
  if ('content-range' in rendered.headers && trace?.plan) reply.headers(readHeaders(trace.plan, request))
  // RFC 9209, as the dialect's clients read it. A raised code may hold anything: only a plain one is named.
  else if (/^\w{1,64}$/.test(rendered.body.code)) reply.header('proxy-status', `PostgREST; error=${rendered.body.code}`)
  if (rendered.statusText !== undefined) reply.raw.statusMessage = rendered.statusText
  const settings = settingsOf(options, request)
  if (settings) {
    repeatTraceHeader(settings, request, reply)
    narrowOrigins(settings, request, reply)
  }
  reply.code(rendered.status).headers(rendered.headers).header('content-type', 'application/json; charset=utf-8')
  const { code, message } = rendered.body
  const said = settings?.minimalErrors ? { code, message } : rendered.body
  const body = trace?.index === undefined ? said : { ...said, index: trace.index }
  return reply.send(request.method === 'HEAD' ? undefined : Buffer.from(JSON.stringify(body)))
}
