import { createPublicKey, type JsonWebKey } from 'node:crypto'
import type { ThirdParty } from '@sovrabase/contract/auth'
import { recentMap, singleFlight } from '../base/cache.ts'
import { fail } from '../base/errors.ts'
import type { Outbound } from '../base/outbound.ts'
import { demandSafe } from '../realms/federated/safe-url.ts'
import { type Alg, peek, type VerificationSet, type VerifyKey } from '../realms/tokens.ts'
import type { ProjectContext } from './types.ts'

const PATIENCE = 5_000
const BYTES = 262_144
const KEYS_MAX = 50
const KNOWN = 1_000
/** ms that keys are believed; then they are read anew while they serve on. */
const FRESH = 600_000
/** ms after which nobody is let in by keys that cannot be read anew. */
const STALE = 3_600_000
/** ms between two tries, whatever tokens name: strangers choose what those say. */
const COOL = 30_000

interface Read {
  readonly keys: ReadonlyMap<string, VerifyKey>
  readonly at: number
  /** When it was last tried, with success or without. */
  readonly tried: number
}

export interface ThirdParties {
  /** For a token of an issuer that the project trusts, whose keys are not here yet: resolves when they were asked for. null: nothing to wait for. */
  prepare(context: ProjectContext, token: string): Promise<void> | null
  /** What verifies such a token; null: it is of no such issuer. `until`: ms until these keys must be looked at again. */
  setFor(
    context: ProjectContext,
    token: string,
  ): { readonly rule: ThirdParty; readonly set: VerificationSet; readonly until: number } | null
}

/** Of RFC 7517 what our tokens know: signatures alone, never a shared secret. */
function keyOf(jwk: JsonWebKey & { alg?: string; use?: string; kid?: string }): VerifyKey | null {
  const { kty, crv, use, kid } = jwk
  const alg: Alg | null =
    kty === 'RSA' ? 'RS256' : kty === 'EC' && crv === 'P-256' ? 'ES256' : kty === 'OKP' && crv === 'Ed25519' ? 'EdDSA' : null
  if (alg === null || (use !== undefined && use !== 'sig') || (jwk.alg !== undefined && jwk.alg !== alg)) return null
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    if (kty === 'RSA' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) return null
    return { kid: kid ?? '', alg, key, trust: 'third', expiresAt: null }
  } catch {
    return null
  }
}

const unusable = (url: string, reason: string) => fail('outbound_failed', { host: new URL(url).hostname, reason })

async function askJson(fetch: Outbound['fetch'], url: string): Promise<Record<string, unknown>> {
  demandSafe(url)
  const answer = await fetch(url, { headers: { accept: 'application/json' }, timeout: PATIENCE, maxBytes: BYTES, redirects: 2 })
  const bytes = await answer.bytes()
  if (answer.status !== 200) throw unusable(url, `the status is ${answer.status}`)
  return Object(JSON.parse(bytes.toString('utf8'))) as Record<string, unknown>
}

/** By its address, or by the metadata of the issuer (OpenID Connect Discovery 1.0 §4), which must be of that issuer. */
async function readKeys(fetch: Outbound['fetch'], issuer: string, jwksUrl: string | null): Promise<ReadonlyMap<string, VerifyKey>> {
  let url = jwksUrl
  if (url === null) {
    const metadata = await askJson(fetch, `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
    if (metadata.issuer !== issuer || typeof metadata.jwks_uri !== 'string') throw unusable(issuer, 'its metadata are of another issuer')
    url = metadata.jwks_uri
  }
  const { keys } = await askJson(fetch, url)
  const all = (Array.isArray(keys) ? keys : []).slice(0, KEYS_MAX).flatMap((jwk) => keyOf(Object(jwk) as JsonWebKey) ?? [])
  return new Map(all.map((key, n) => [key.kid === '' ? `#${n}` : key.kid, key]))
}

/** Keys of third parties, kept in this process. Asks by the outbound rule; wakes nothing. */
export function makeThirdParties(fetch: Outbound['fetch'], now: () => number = Date.now): ThirdParties {
  const known = recentMap<Read>(KNOWN)
  const nameOf = ({ issuer, jwks_url }: ThirdParty): string => JSON.stringify([issuer, jwks_url ?? null])

  const refresh = singleFlight(async (name: string): Promise<void> => {
    const [issuer, jwksUrl] = JSON.parse(name) as [string, string | null]
    const before = known.get(name)
    try {
      known.set(name, { keys: await readKeys(fetch, issuer, jwksUrl), at: now(), tried: now() })
    } catch {
      // What is known serves on for a while: a provider that is away for a minute does not sign everybody out.
      known.set(name, { keys: before?.keys ?? new Map(), at: before?.at ?? 0, tried: now() })
    }
  })

  function ruleFor(context: ProjectContext, token: string) {
    const said = peek(token)
    const rule = said === null ? undefined : context.thirdParties.get(said.iss)
    return rule && said ? { rule, kid: said.kid } : null
  }

  return {
    prepare(context, token) {
      const found = ruleFor(context, token)
      if (!found) return null
      const name = nameOf(found.rule)
      const read = known.get(name)
      const cool = read === undefined || read.tried + COOL <= now()
      if (!read || read.at + STALE <= now()) return cool ? refresh(name) : null
      if (found.kid !== null && !read.keys.has(found.kid)) return cool ? refresh(name) : null
      if (read.at + FRESH <= now() && cool) void refresh(name)
      return null
    },
    setFor(context, token) {
      const found = ruleFor(context, token)
      if (!found) return null
      const { rule } = found
      const read = known.get(nameOf(rule))
      const alive = read !== undefined && read.at + STALE > now()
      const set = {
        byKid: alive ? read.keys : new Map(),
        shared: [],
        issuers: [rule.issuer],
        audience: '',
        audiences: rule.audiences ?? [],
      }
      return { rule, set, until: now() + COOL }
    },
  }
}

const at = (claims: Readonly<Record<string, unknown>>, path: string): unknown => {
  if (Object.hasOwn(claims, path)) return claims[path]
  return path
    .split('.')
    .reduce<unknown>(
      (value, key) => (Object.hasOwn(Object(value) as object, key) ? (value as Record<string, unknown>)[key] : undefined),
      claims,
    )
}

/** The role that a token of a third party has in the database; null: one that it may not give. */
export function roleOf(rule: ThirdParty, claims: Readonly<Record<string, unknown>>): string | null {
  const said = at(claims, rule.role_claim ?? 'role') ?? rule.role ?? 'authenticated'
  return typeof said === 'string' && (rule.roles ?? ['anon', 'authenticated']).includes(said) ? said : null
}
