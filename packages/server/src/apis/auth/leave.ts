import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fail, SovraError } from '../../base/errors.ts'
import { formFields } from '../../base/form.ts'
import { withParams } from '../../realms/auth/redirects.ts'
import { wireCode } from './render.ts'

/** How browsers come back from a provider, and leave for the application. */

/** What went wrong, as pages read it: in the fragment, and in the query too where a server reads it. */
export function errorTarget(target: string, error: SovraError): string {
  const kind = error.status >= 500 ? 'server_error' : error.status === 400 ? 'invalid_request' : 'access_denied'
  const params = { error: kind, error_code: wireCode(error.code), error_description: error.message }
  return withParams(withParams(target, 'query', params), 'fragment', { ...params, sb: '' })
}

export const known = (request: FastifyRequest, error: unknown): SovraError => {
  if (error instanceof SovraError) {
    if (error.status >= 500) request.log.warn({ err: error }, 'a sign-in by a provider failed')
    return error
  }
  request.log.error({ err: error }, 'a sign-in by a provider failed')
  return fail('auth_unexpected_failure', { reason: 'Unexpected failure' }, { cause: error })
}

export function leave(reply: FastifyReply, target: string, status: 302 | 303 = 302) {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  return reply.redirect(target, status)
}

/** Providers that answer by a form. */
export function readsForms(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, text, done) =>
    done(null, Object.fromEntries(formFields(String(text)))),
  )
}
