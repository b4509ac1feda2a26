import * as oidc from 'openid-client'
import { expiringMap } from '../../base/cache.ts'
import { sha256 } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import type { Outbound } from '../../base/outbound.ts'
import type { Realm } from '../auth/realm.ts'
import { demandSafe } from './safe-url.ts'
import type { Source } from './source.ts'

const PATIENCE = 10_000
const ANSWER_BYTES = 1_048_576
/** ms that the metadata of a provider is kept. */
const METADATA_LIFE = 600_000
const KNOWN = 500
/** An answer with one of these has no body (Fetch §2.2.3). */
const BODILESS = new Set([204, 205, 304])

const known = expiringMap<oidc.Configuration>(KNOWN)

/** Token answers as RFC 6749 has them: some providers leave out the type, or list the scopes. */
function mended(bytes: Buffer): Uint8Array<ArrayBuffer> {
  try {
    const body = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>
    if (typeof body.access_token !== 'string') return new Uint8Array(bytes)
    const scope = Array.isArray(body.scope) ? { scope: body.scope.join(' ') } : {}
    return new TextEncoder().encode(JSON.stringify({ ...body, token_type: body.token_type ?? 'bearer', ...scope }))
  } catch {
    return new Uint8Array(bytes)
  }
}

/** The outbound rule in the shape that OAuth libraries call: no redirect is followed. */
export const fetchThrough =
  (fetch: Outbound['fetch'], mends: (url: string) => boolean = () => false) =>
  async (
    url: string,
    options: { body?: unknown; headers?: unknown; method?: string; signal?: AbortSignal | undefined },
  ): Promise<Response> => {
    const { body, method = 'GET', signal } = options
    const headers = Object.fromEntries(new Headers(options.headers as Record<string, string>))
    const sent = body === undefined || body === null ? null : String(body)
    const limits = { timeout: PATIENCE, maxBytes: ANSWER_BYTES, redirects: 0 }
    const answer = await fetch(url, { method, headers, body: sent, ...limits, ...(signal ? { signal } : {}) })
    const bytes = await answer.bytes()
    const kept = new Headers(answer.headers)
    for (const name of ['content-encoding', 'content-length', 'transfer-encoding']) kept.delete(name)
    return new Response(BODILESS.has(answer.status) ? null : mends(url) ? mended(bytes) : new Uint8Array(bytes), {
      status: answer.status,
      headers: kept,
    })
  }

function authOf({ secret, preset }: Source): oidc.ClientAuth {
  if (secret === null) return oidc.None()
  return preset.auth === 'basic' ? oidc.ClientSecretBasic(secret) : oidc.ClientSecretPost(secret)
}

async function discovered(realm: Realm, source: Source, issuer: string): Promise<oidc.Configuration> {
  const execute = demandSafe(source.discovery ?? issuer) ? [oidc.allowInsecureRequests] : []
  const options = { [oidc.customFetch]: fetchThrough(realm.fetch, (url) => url.endsWith('token')), timeout: PATIENCE / 1000, execute }
  const config = await oidc.discovery(new URL(source.discovery ?? issuer), source.clientId, {}, authOf(source), options)
  const said = config.serverMetadata().issuer
  if (source.discovery !== null && said.replace(/\/$/, '') !== issuer.replace(/\/$/, ''))
    throw fail('auth_validation_failed', { reason: 'the metadata of the provider is of another issuer' })
  // Not TLS alone: its signature says whose an id_token is.
  oidc.enableNonRepudiationChecks(config)
  return config
}

/** Its metadata and our credentials there; asked for once in ten minutes. Throws `outbound_*` and what the library finds wrong. */
export async function configurationOf(realm: Realm, source: Source): Promise<oidc.Configuration> {
  const { preset, clientId } = source
  const address = preset.kind === 'oidc' ? preset.issuer : `${preset.authorize} ${preset.token}`
  const key = sha256(JSON.stringify([realm.issuer, source.name, address, source.discovery, clientId, source.secret]))
  const before = known.get(key)
  if (before) return before
  let config: oidc.Configuration
  if (preset.kind === 'oidc') config = await discovered(realm, source, preset.issuer ?? '')
  else {
    const insecure = [preset.authorize, preset.token, ...(preset.account === null ? [] : [preset.account])].map(demandSafe).some(Boolean)
    const issuer = new URL(preset.authorize).origin
    config = new oidc.Configuration(
      { issuer, authorization_endpoint: preset.authorize, token_endpoint: preset.token },
      clientId,
      {},
      authOf(source),
    )
    config[oidc.customFetch] = fetchThrough(realm.fetch, (url) => url === preset.token)
    if (insecure) oidc.allowInsecureRequests(config)
  }
  known.set(key, config, Date.now() + METADATA_LIFE)
  return config
}
