import type { FastifyInstance } from 'fastify'
import router, { type HTTPMethod } from 'find-my-way'
import { fail, type SovraError } from './errors.ts'

const nothing = () => {}

/**
 * Tells an unknown path from a wrong method. Add it before the routes: it keeps their paths beside Fastify's own router, which cannot be
 * asked. Answers the error for a request that found no route: `method_not_allowed` with `Allow` (RFC 9110 §15.5.6), or `not_found`.
 */
export function methodsOf(app: FastifyInstance, maxParamLength: number): (method: string, url: string) => SovraError {
  const routes = router({ maxParamLength, ignoreTrailingSlash: false })
  const known = new Set<string>()
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) {
      known.add(one)
      if (!routes.hasRoute(one as HTTPMethod, url)) routes.on(one as HTTPMethod, url, nothing)
    }
  })
  return (method, url) => {
    const path = url.split('?', 1)[0]!
    const allowed = [...known].filter((one) => one !== method && routes.find(one as HTTPMethod, path) !== null)
    if (allowed.length === 0) return fail('not_found')
    const allow = allowed.sort().join(', ')
    return fail('method_not_allowed', { method, allow }, { headers: { allow } })
  }
}
