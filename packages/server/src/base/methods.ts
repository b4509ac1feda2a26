import type { FastifyInstance } from 'fastify'
import router, { type HTTPMethod } from 'find-my-way'
import { fail, type SovraError } from './errors.ts'

const nothing = () => {}

/**
 * Tells an unknown path from a wrong method. Add it before the routes: it keeps their paths beside Fastify's own router, which cannot be
 * asked. Answers the error for a request that found no route: `method_not_allowed` with `Allow` (RFC 9110 §15.5.6), or `not_found`.
 */
export function methodsOf(app: FastifyInstance, maxParamLength: number): (method: string, url: string) => SovraError {
  const known = new Set<string>()
  const added: [HTTPMethod, string][] = []
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) {
      known.add(one)
      added.push([one as HTTPMethod, url])
    }
  })
  let made: ReturnType<typeof router> | undefined
  /** Made by the first who asks: a start does not pay for it. */
  function paths() {
    made ??= router({ maxParamLength, ignoreTrailingSlash: false })
    for (const [method, url] of added.splice(0)) if (!made.hasRoute(method, url)) made.on(method, url, nothing)
    return made
  }
  return (method, url) => {
    const routes = paths()
    const path = url.split('?', 1)[0]!
    const allowed = [...known].filter((one) => one !== method && routes.find(one as HTTPMethod, path) !== null)
    if (allowed.length === 0) return fail('not_found')
    const allow = allowed.sort().join(', ')
    return fail('method_not_allowed', { method, allow }, { headers: { allow } })
  }
}
