/** A real OpenID provider on loopback, whose user signs in at once, and a stand-in for GitHub beside it. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { importJWK, SignJWT } from 'jose'
import { Provider } from 'oidc-provider'

export interface Account {
  readonly sub: string
  readonly email?: string
  readonly email_verified?: boolean
  readonly name?: string
  readonly [claim: string]: unknown
}

export interface TestOidc {
  readonly origin: string
  readonly issuer: string
  readonly clientId: string
  readonly secret: string
  readonly kid: string
  readonly publicPem: string
  /** Who is signed in there; null: they refuse. */
  account: Account | null
  github: { user: unknown; emails: unknown }
  /** An id_token of this issuer with these claims over the usual ones. */
  idToken(claims: Record<string, unknown>): Promise<string>
  /** Runs a browser until the provider would send it back; answers that URL, unvisited. */
  stopBefore(run: () => Promise<unknown>): Promise<string>
  close(): Promise<void>
}

const json = (response: ServerResponse, value: unknown) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))

export async function startOidc(redirectUris: string[]): Promise<TestOidc> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'test-key' }
  let handler: (request: IncomingMessage, response: ServerResponse) => unknown = () => undefined
  const server = createServer((request, response) => void handler(request, response))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  let stopped: ((url: string) => void) | null = null

  const oidc: TestOidc = {
    origin,
    issuer: origin,
    clientId: 'sovra',
    secret: 'a-secret-of-the-client',
    kid: 'test-key',
    publicPem: createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString(),
    account: null,
    github: { user: {}, emails: [] },
    async idToken(claims) {
      const now = Math.floor(Date.now() / 1000)
      const all = Object.fromEntries(
        Object.entries({ iss: origin, iat: now, exp: now + 300, ...claims }).filter(([, value]) => value !== undefined),
      )
      return new SignJWT(all).setProtectedHeader({ alg: 'RS256', kid: 'test-key' }).sign(await importJWK(jwk, 'RS256'))
    },
    async stopBefore(run) {
      const url = new Promise<string>((done) => (stopped = done))
      await run().catch(() => undefined)
      stopped = null
      return url
    },
    async close() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }

  const accounts = new Map<string, Account>()
  const provider = new Provider(origin, {
    clients: [
      {
        client_id: oidc.clientId,
        client_secret: oidc.secret,
        redirect_uris: redirectUris,
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    jwks: { keys: [jwk] } as never,
    claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'], profile: ['name', 'picture', 'preferred_username'] },
    // The userinfo endpoint is asked then, as of most providers.
    conformIdTokenClaims: true,
    pkce: { required: () => true },
    cookies: { keys: ['test'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: async (_ctx, id) => ({ accountId: id, claims: async () => (accounts.get(id) ?? { sub: id }) as { sub: string } }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client!.clientId, accountId: ctx.oidc.session!.accountId! })
      grant.addOIDCScope('openid email profile')
      await grant.save()
      return grant
    },
  })
  const serve = provider.callback()

  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { account } = oidc
    if (account) accounts.set(account.sub, account)
    const result = account
      ? { login: { accountId: account.sub, remember: false } }
      : { error: 'access_denied', error_description: 'not today' }
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false })
  }

  handler = (request, response) => {
    const url = new URL(request.url ?? '/', origin)
    if (stopped) {
      const { writeHead } = response
      const write = writeHead.bind(response) as (...args: unknown[]) => ServerResponse
      response.writeHead = ((...args: unknown[]) => {
        const to = String(response.getHeader('location') ?? '')
        if (!redirectUris.some((uri) => to.startsWith(uri))) return write(...args)
        stopped?.(to)
        response.removeHeader('location')
        return write(...args)
      }) as typeof response.writeHead
    }
    if (url.pathname.startsWith('/interaction/')) return interact(request, response)
    if (url.pathname === '/login/oauth/authorize') {
      const to = new URL(url.searchParams.get('redirect_uri')!)
      to.search = new URLSearchParams({ code: 'gh-code', state: url.searchParams.get('state')! }).toString()
      return response.writeHead(302, { location: to.href }).end()
    }
    if (url.pathname === '/login/oauth/access_token') return json(response, { access_token: 'gh-token', scope: 'user:email' })
    if (url.pathname === '/api/v3/user') return json(response, oidc.github.user)
    if (url.pathname === '/api/v3/user/emails') return json(response, oidc.github.emails)
    return serve(request, response)
  }
  return oidc
}
