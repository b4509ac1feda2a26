import { LRUCache } from 'lru-cache'
import { fail } from '../../base/errors.ts'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import { type DocumentOptions, openApi } from './openapi/document.ts'
import { openApi31 } from './openapi/three.ts'
import { contentType, negotiate } from './parse/media.ts'
import { type Asked, header, schemaOf } from './prepare.ts'
import type { Answer } from './reply.ts'
import type { Space } from './space.ts'

/** The root document: what there is, in OpenAPI. Throws PGRST106, 107, 126. Pure. */
export function describe(request: Asked, space: Space, catalogue: Catalogue, role: string, url: URL): Answer {
  const { openApi: mode, openApiSecurity: security, proxyUrl } = space.settings
  const media = negotiate(header(request, 'accept'), true)
  const { schema: name, profile } = schemaOf(request, space)
  if (mode === 'disabled') throw fail('PGRST126')
  const schema = catalogue.schemas.get(name)
  if (!schema) throw fail('PGRST106', { schema: name, schemas: space.settings.schemas.join(', ') })
  const options = {
    catalogue,
    schema,
    role: mode === 'follow-privileges' ? role : null,
    url: proxyUrl ?? url,
    proxied: proxyUrl !== null,
    security,
  }
  const three = media.kind === 'openapi' && media.version === '3.1'
  return {
    status: 200,
    headers: { 'content-type': contentType(media), ...(profile === null ? {} : { 'content-profile': profile }) },
    body: documentOf(space, options, three),
  }
}

/** Bytes of documents that are kept of one catalogue and its settings. */
const KEPT = 16 * 1024 * 1024
const kept = new WeakMap<Space, LRUCache<string, Buffer>>()

/** Made once for each who may see the same: of a large schema it is dear. */
function documentOf(space: Space, options: DocumentOptions, three: boolean): Buffer {
  let documents = kept.get(space)
  if (!documents) {
    documents = new LRUCache({ maxSize: KEPT, sizeCalculation: (text) => text.length + 1_000 })
    kept.set(space, documents)
  }
  const key = JSON.stringify([options.schema.name, options.role, options.url.href, three])
  let body = documents.get(key)
  if (!body) {
    const document = openApi(options)
    body = Buffer.from(JSON.stringify(three ? openApi31(document) : document))
    documents.set(key, body)
  }
  return body
}
