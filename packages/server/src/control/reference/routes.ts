import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { pageHeaders } from '../../gateway/headers.ts'
import { page } from '../setup/html.ts'
import { type Document, renderReference } from './render.ts'

/** `/v1/openapi.json` (OpenAPI 3.1) from the routes' own schemas, and `/docs`, the same for people. */
export const referenceRoutes =
  (root: () => FastifyInstance & { swagger?: () => unknown }): FastifyPluginAsyncTypebox =>
  async (app) => {
    const document = () => root().swagger?.() as Document

    app.get('/v1/openapi.json', { config: { action: 'public' }, schema: { hide: true } }, async () => document())

    app.get('/docs', { config: { action: 'public' }, schema: { hide: true } }, (_request, reply) =>
      pageHeaders(reply)
        .type('text/html; charset=utf-8')
        .send(page('en', 'API reference', renderReference(document()))),
    )
  }
