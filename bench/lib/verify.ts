/** Verifying the token of a request: known already, and for the first time beside the bare signature. CPU of this process. */
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { makeProjectAuthenticator } from '../../packages/server/src/gateway/authenticate.ts'
import type { ThirdParties } from '../../packages/server/src/gateway/third-party.ts'
import type { ProjectContext } from '../../packages/server/src/gateway/types.ts'
import { signToken, type VerifyKey } from '../../packages/server/src/realms/tokens.ts'
import { median } from './figures.ts'

const TOKENS = 2_000
const CACHED = 200_000
const ROUNDS = 5
const ISSUER = 'https://bench.example.org/auth/v1'

/** µs of CPU for each of `times` calls. */
function cpuOf(times: number, fn: (i: number) => unknown): number {
  const before = process.cpuUsage()
  for (let i = 0; i < times; i++) fn(i)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / times
}

export function verifying(): { readonly cached: number; readonly first: number; readonly bare: number } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKey = createPublicKey(privateKey)
  const key: VerifyKey = { kid: 'one', alg: 'ES256', key: publicKey, trust: 'own', expiresAt: null }
  const context = {
    ref: 'bench',
    tag: 'one',
    apiKeys: new Map(),
    denied: new Map(),
    thirdParties: new Map(),
    verification: { byKid: new Map([['one', key]]), shared: [], issuers: [ISSUER], audience: 'authenticated' },
  } as unknown as ProjectContext
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: ISSUER,
    aud: 'authenticated',
    role: 'authenticated',
    iat: now,
    exp: now + 3600,
    aal: 'aal1',
    email: 'zoe@example.org',
  }
  const seen = { cached: [] as number[], first: [] as number[], bare: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    const tokens = Array.from({ length: TOKENS }, (_, i) =>
      signToken({ ...claims, sub: `user ${round} ${i}`, session_id: `${i}` }, { alg: 'ES256', key: privateKey, kid: 'one' }),
    )
    const split = tokens.map((token) => {
      const at = token.lastIndexOf('.')
      return { input: Buffer.from(token.slice(0, at)), signature: Buffer.from(token.slice(at + 1), 'base64url') }
    })
    const authenticator = makeProjectAuthenticator({} as ThirdParties)
    const headers = tokens.map((token) => `Bearer ${token}`)
    seen.bare.push(
      cpuOf(TOKENS, (i) => verify('sha256', split[i]!.input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, split[i]!.signature)),
    )
    seen.first.push(cpuOf(TOKENS, (i) => authenticator.authenticate(context, headers[i], undefined)))
    seen.cached.push(cpuOf(CACHED, (i) => authenticator.authenticate(context, headers[i % TOKENS], undefined)))
  }
  return { cached: median(seen.cached), first: median(seen.first), bare: median(seen.bare) }
}
