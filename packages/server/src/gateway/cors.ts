import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { namedRef } from './resolve.ts'

/** What clients send, where a preflight does not say. */
const REQUEST_HEADERS = [
  'authorization',
  'x-client-info',
  'apikey',
  'content-type',
  'x-supabase-api-version',
  'x-retry-count',
  'x-upsert',
  'x-region',
  'prefer',
  'accept-profile',
  'content-profile',
  'range',
  'traceparent',
  'tracestate',
  'baggage',
  'cache-control',
  'x-metadata',
  'tus-resumable',
  'upload-length',
  'upload-metadata',
  'upload-offset',
  'upload-defer-length',
  'upload-concat',
  'x-http-method-override',
].join(', ')

const EXPOSED = [
  // what the reference of the data API lets pages read
  'content-encoding',
  'content-location',
  'content-range',
  'content-type',
  'date',
  'server',
  'transfer-encoding',
  'range-unit',
  'x-supabase-api-version',
  'x-total-count',
  'link',
  'location',
  'preference-applied',
  'tus-resumable',
  'tus-version',
  'tus-extension',
  'tus-max-size',
  'upload-offset',
  'upload-length',
  'upload-metadata',
  'upload-expires',
  'x-relay-error',
  'sb-request-id',
  'retry-after',
  'idempotency-replayed',
].join(', ')

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
/** Seconds; Chromium believes no more than this. */
const MAX_AGE = '7200'
const NAMES = /^[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/
const NAMES_CHARS_MAX = 4096

/**
 * onRequest, before anything else: a preflight reads nothing and wakes nothing. Only APIs of projects answer other origins, and never with
 * credentials of the browser: keys and tokens are sent by the page itself. The platform's routes speak to their own origin alone.
 */
export function corsHook(allowedOrigins: readonly string[]) {
  const any = allowedOrigins.includes('*')
  const allowed = new Set(allowedOrigins)

  return (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => {
    const { origin } = request.headers
    if (origin === undefined || namedRef(request.raw) === undefined) return done()
    if (!any) reply.header('vary', 'Origin')
    if (any || allowed.has(origin)) {
      reply.header('access-control-allow-origin', any ? '*' : origin)
      reply.header('access-control-expose-headers', EXPOSED)
    }
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return done()
    if (any || allowed.has(origin)) {
      const asked = request.headers['access-control-request-headers']
      const names = typeof asked === 'string' && asked.length <= NAMES_CHARS_MAX && NAMES.test(asked) ? asked : REQUEST_HEADERS
      reply.header('access-control-allow-methods', METHODS)
      reply.header('access-control-allow-headers', names)
      reply.header('access-control-max-age', MAX_AGE)
    }
    // A hook that has answered does not call done.
    reply.code(204).send()
  }
}
