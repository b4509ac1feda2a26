import type { Socket } from 'node:net'
import { type Language, languageAccepted, wordingOf } from '@sovrabase/contract/wording'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { fail, isSovraError, type SovraError } from './errors.ts'
import { requestId } from './ids.ts'
import { nodeHttp } from './later.ts'
import { saysOf } from './schema.ts'
import { isDiskFull } from './start-error.ts'

/** The error envelope of the control API; other dialects render in their own scope. */
export interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly hint?: string
  readonly details?: unknown
  readonly request_id: string
}

const NO_ROUTE = 'FST_ERR_NOT_FOUND'

/** Of a validation error only where and which rule: never the value. */
function invalid(error: FastifyError): SovraError {
  const all = error.validation ?? []
  const rules = all.map((one) => ({ path: one.instancePath, rule: one.keyword, message: saysOf(one, all) }))
  const first = rules[0]
  const reason = first ? `${error.validationContext ?? 'request'}${first.path} ${first.message}` : 'it does not match the schema'
  return fail('invalid_request', { reason }, { details: rules, cause: error })
}

/** Any thrown thing as an error of the table: Fastify's own become their counterparts, everything unforeseen `internal`. */
export function toSovraError(error: unknown, request?: FastifyRequest): SovraError {
  if (isSovraError(error)) return error
  const known = error as FastifyError
  if (known?.validation) return invalid(known)
  switch (known?.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return fail('body_too_large', { limit: request?.routeOptions.bodyLimit ?? 0 }, { cause: error })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return fail('unsupported_media_type', { type: request?.headers['content-type'] ? 'of the body' : 'missing' }, { cause: error })
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return fail('invalid_json', {}, { cause: error })
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return fail('invalid_request', { reason: 'the path is malformed' }, { cause: error })
    case NO_ROUTE:
      return fail('not_found')
  }
  if (error instanceof SyntaxError && (error as { statusCode?: number }).statusCode === 400)
    return fail('invalid_json', {}, { cause: error })
  const status = known?.statusCode
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return fail('invalid_request', { reason: 'it was not accepted' }, { cause: error })
  }
  return fail(isDiskFull(error) ? 'disk_low' : 'internal', {}, { cause: error })
}

export function errorBody(error: SovraError, id: string, language: Language = 'en'): ErrorBody {
  const { message, hint } = language === 'en' ? error : wordingOf(error.code, error.params, language)
  return {
    code: error.code,
    message,
    ...(hint === '' ? {} : { hint }),
    ...(error.details === undefined ? {} : { details: error.details }),
    request_id: id,
  }
}

/** Once for each unforeseen error; foreseen ones are in the access log by their status. */
export function logError(error: SovraError, request: FastifyRequest): void {
  if (error.status >= 500 && error.code === 'internal') request.log.error({ err: error, request_id: request.id }, 'unexpected error')
}

/** The error handler of the control API and of everything that has none of its own. */
export function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = toSovraError(thrown, request)
  logError(error, request)
  if (error.headers) reply.headers(error.headers)
  const body = errorBody(error, request.id, languageAccepted(request.headers['accept-language']))
  return reply.code(error.status).type('application/json; charset=utf-8').serializer(JSON.stringify).send(body)
}

/** What is not yet any API's: in JSON that clients of every dialect read. */
const everyDialects = (error: SovraError, id: string) => ({ hint: null, ...errorBody(error, id), details: null })

/** The answer to a path that cannot be read, so that no scope is asked to render it. */
export function answerFrameworkError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = toSovraError(thrown, request)
  logError(error, request)
  reply.code(error.status).type('application/json; charset=utf-8').serializer(JSON.stringify).send(everyDialects(error, request.id))
}

interface ClientError extends Error {
  readonly code?: string
}

function fromClientError({ code }: ClientError, headerLimit: number): SovraError {
  if (code === 'HPE_HEADER_OVERFLOW') return fail('headers_too_large', { limit: headerLimit })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return fail('request_timeout')
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return fail('malformed_http')
  return fail('malformed_http')
}

/**
 * What never becomes a request is answered in JSON too, in a shape that clients of every dialect read. Where an answer is on its way
 * already, the connection only ends.
 */
export function answerClientError(thrown: ClientError, socket: Socket, headerLimit: number): void {
  const answering = (socket as { _httpMessage?: { _headerSent?: boolean } })._httpMessage?._headerSent === true
  if (thrown.code === 'ECONNRESET' || !socket.writable || answering) {
    socket.destroy()
    return
  }
  const error = fromClientError(thrown, headerLimit)
  const body = JSON.stringify(everyDialects(error, requestId()))
  const head = [
    `HTTP/1.1 ${error.status} ${nodeHttp().STATUS_CODES[error.status] ?? 'Error'}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Access-Control-Allow-Origin: *',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
