import { ACTIONS } from '@sovrabase/contract/actions'
import { SECTIONS } from '@sovrabase/contract/settings'
import { type FastifyInstance, fastify, type RouteOptions } from 'fastify'
import { later } from '../../base/later.ts'
import type { Document } from './render.ts'

const nothing = () => {}

/** Only `/v1`; a route says what it does by its action, or by a summary of its own where several share one. */
function shown({ method, url, schema, config }: RouteOptions): RouteOptions {
  const action = (config as { action?: keyof typeof ACTIONS | 'public' } | undefined)?.action
  const own = (schema as { summary?: string } | undefined)?.summary
  const summary = own ?? (action && action !== 'public' ? ACTIONS[action].says : undefined)
  return { method, url, schema: { ...schema, ...(summary ? { summary } : {}) } as RouteOptions['schema'] & object, handler: nothing }
}

async function describe(routes: readonly RouteOptions[], version: string): Promise<Document> {
  const { default: swagger } = later<typeof import('@fastify/swagger')>('@fastify/swagger')
  // Nobody calls it: it shows the plug-in the routes, and compiles none of their schemas.
  const app = fastify({ exposeHeadRoutes: false })
  app.setValidatorCompiler(() => () => true).setSerializerCompiler(() => JSON.stringify)
  await app.register(swagger, { openapi: { openapi: '3.1.0', info: { title: 'Sovrabase control API', version } } })
  for (const route of routes) app.route(shown(route))
  await app.ready()
  const document = app.swagger() as Document & { components?: { schemas?: Record<string, unknown> } }
  // One route for all sections: what each takes has its place here.
  const sections = Object.entries(SECTIONS).map(([name, schema]) => [`settings.${name}`, JSON.parse(JSON.stringify(schema))] as const)
  document.components = { ...document.components, schemas: { ...document.components?.schemas, ...Object.fromEntries(sections) } }
  await app.close()
  return document
}

/**
 * Keeps the routes of `/v1` that are added from now on. Their document is made when the first asks for it: few do, and a start does not pay for
 * what makes it.
 */
export function documentOf(app: FastifyInstance, version: string): () => Promise<Document> {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    const hidden = (route.schema as { hide?: boolean } | undefined)?.hide === true
    if (route.url.startsWith('/v1/') && route.method !== 'HEAD' && !hidden) routes.push(route)
  })
  let made: Promise<Document> | undefined
  return () => {
    made ??= describe(routes, version).catch((error: unknown) => {
      made = undefined
      throw error
    })
    return made
  }
}
