import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { pageHeaders } from '../../gateway/headers.ts'
import { page } from '../setup/html.ts'
import { type Document, renderReference } from './render.ts'

/** `/v1/openapi.json` (OpenAPI 3.1) from the routes' own schemas, and `/docs`, the same for people. */
export const referenceRoutes =
  (document: () => Promise<Document>): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/v1/openapi.json', { config: { action: 'public' }, schema: { hide: true } }, () => document())

    app.get('/docs', { config: { action: 'public' }, schema: { hide: true } }, async (_request, reply) => {
      const text = page('en', 'API reference', renderReference(await document()))
      return pageHeaders(reply).type('text/html; charset=utf-8').send(text)
    })
  }
