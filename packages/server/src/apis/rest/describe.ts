import { fail } from '../../base/errors.ts'
import type { Catalogue } from '../../runtime/engines/postgres/catalogue/types.ts'
import { openApi } from './openapi/document.ts'
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
  const document = openApi({
    catalogue,
    schema,
    role: mode === 'follow-privileges' ? role : null,
    url: proxyUrl ?? url,
    proxied: proxyUrl !== null,
    security,
  })
  const three = media.kind === 'openapi' && media.version === '3.1'
  return {
    status: 200,
    headers: { 'content-type': contentType(media), ...(profile === null ? {} : { 'content-profile': profile }) },
    body: Buffer.from(JSON.stringify(three ? openApi31(document) : document)),
  }
}
