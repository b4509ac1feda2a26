import { createHmac } from 'node:crypto'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sqliteMetadata, type TestMetadata } from '../../../../test/databases.ts'
import { makeVault } from '../base/crypto.ts'
import { type Http, makeHttp } from '../base/http.ts'
import { projectRef, uuid } from '../base/ids.ts'
import { silentLog } from '../base/log.ts'
import { makeMetrics } from '../base/metrics.ts'
import type { Actor } from '../metadata/change.ts'
import { type ApiKeyKind, createProjectKeys } from '../realms/api-keys.ts'
import { makeDenied } from '../realms/denied.ts'
import { makeHasher } from '../realms/hashing.ts'
import { currentKey, readRealmKeys } from '../realms/keys.ts'
import { makePlatformRealm } from '../realms/platform.ts'
import { type Claims, signToken } from '../realms/tokens.ts'
import { type GatewayOptions, makeGateway, mountProjectApi } from './gateway.ts'
import { makeRewrite } from './resolve.ts'
import { type Addressing, type FormerAddress, issuersOf } from './urls.ts'

export const ACTOR: Actor = { id: 'test', kind: 'system', ip: null, requestId: null }
export const LOCAL_TOKEN = `sovra_local_${'x'.repeat(43)}`

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly body: Record<string, unknown>
}

export interface Ask {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

export interface TestProject {
  readonly ref: string
  readonly keys: Readonly<Record<ApiKeyKind, { id: string; text: string }>>
  readonly issuer: string
  /** Signs a user's token by the project's own ES256 key. */
  user(claims?: Claims): string
  /** Signs by the shared secret. */
  shared(claims: Claims): string
  readonly jwtSecret: string
  /** PEM of the public half of the user key. */
  readonly publicPem: string
  readonly userKid: string
}

/** A clock that tests move; what has a time in it (tokens, budgets, caches) reads it. */
export const clock = { at: Date.now() }
const now = () => clock.at
const vault = makeVault(Buffer.alloc(32, 7))

function addRoutes(http: Http): void {
  http.get('/health', { config: { action: 'public', quiet: true } }, async () => ({ status: 'ok' }))
  http.get('/page', { config: { action: 'public' } }, async () => 'page')
  http.register(
    async (scope) => {
      scope.get('/me', { config: { action: 'session:read', resource: 'self' } }, async (request) => request.principal)
      scope.post('/me', { config: { action: 'self:update', resource: 'self' } }, async () => ({ done: true }))
      scope.get('/platform', { config: { action: 'platform:read', resource: 'platform' } }, async () => ({ done: true }))
      scope.get('/projects/:ref', { config: { action: 'project:read', resource: 'project' } }, async (request) => request.resource)
      scope.get('/projects/:ref/keys', { config: { action: 'key:reveal', resource: 'project' } }, async () => ({ done: true }))
      scope.get(
        '/organisations/:organisation',
        { config: { action: 'organisation:read', resource: 'organisation' } },
        async (request) => request.resource,
      )
      scope.get('/organisations/:organisation/members', { config: { action: 'member:list', resource: 'organisation' } }, async () => ({
        done: true,
      }))
      scope.delete('/organisations/:organisation', { config: { action: 'organisation:delete', resource: 'organisation' } }, async () => ({
        done: true,
      }))
    },
    { prefix: '/v1' },
  )
  mountProjectApi(http, '/rest/v1', {
    bodyLimit: 1000,
    render: (error, _request, reply) => reply.code(error.status).send({ dialect: 'rest', code: error.code, message: error.message }),
    routes: async (scope) => {
      const config = { action: 'rest:read', resource: 'project' } as const
      scope.get('/who', { config }, async ({ principal, project }) => ({ principal, ref: project?.ref, url: project?.url }))
      scope.post('/rows', { config: { action: 'rest:write', resource: 'project' } }, async () => ({ done: true }))
      scope.get('/users', { config: { action: 'auth:administer', resource: 'project' } }, async () => ({ done: true }))
      scope.get('/door', { config: { action: 'public' } }, async ({ principal, project }) => ({ principal, ref: project?.ref }))
    },
  })
}

/** Sends one request as it stands: nothing is followed, kept or completed. */
const asker =
  (port: () => number) =>
  (path: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = httpRequest({ host: '127.0.0.1', port: port(), path, method, headers, agent: false }, (answer) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('end', () => {
          const text = Buffer.concat(parts).toString()
          const isJson = answer.headers['content-type']?.includes('json')
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, body: isJson ? JSON.parse(text) : {} })
        })
      })
      sent.on('error', reject)
      sent.end(body)
    })

/** Who signs what for a project. */
async function testProject(on: TestMetadata, ref: string, issuer: string, made: Awaited<ReturnType<typeof createProjectKeys>>) {
  const keys = await readRealmKeys(on.metadata.kysely, vault, ref, now())
  const user = currentKey(keys, 'user')
  const legacy = currentKey(keys, 'legacy')
  const claims = () => ({
    ...{ iss: issuer, aud: 'authenticated', sub: 'user-1', role: 'authenticated', session_id: 's-1' },
    exp: Math.floor(now() / 1000) + 3600,
  })
  return {
    ref,
    issuer,
    keys: Object.fromEntries(made.map((key) => [key.kind, key])) as unknown as TestProject['keys'],
    user: (extra = {}) => signToken({ ...claims(), ...extra }, { alg: 'ES256', key: user.key, kid: user.kid }),
    shared: (own: Claims) => signToken(own, { alg: 'HS256', key: legacy.key }),
    jwtSecret: legacy.secret!,
    publicPem: user.publicKey!.export({ type: 'spki', format: 'pem' }) as string,
    userKid: user.kid,
  } satisfies TestProject
}

/** Puts organisations, projects and members there. */
function populate(on: TestMetadata, realm: ReturnType<typeof makePlatformRealm>, addressing: Addressing) {
  async function addOrganisation(name: string): Promise<string> {
    const id = uuid()
    await on.metadata.kysely
      .insertInto('organisations')
      .values({ id, name, title: name, quotas: '{}', created_at: now(), updated_at: now(), deleted_at: null })
      .execute()
    return id
  }

  async function addProject(organisation: string): Promise<TestProject> {
    const ref = projectRef()
    const row = { ref, organisation_id: organisation, name: `p-${ref}`, region: 'local', labels: '{}', state: 'active', version: 1 }
    const made = await on.change(ACTOR, async (change) => {
      await change.trx
        .insertInto('projects')
        .values({ ...row, created_at: now(), updated_at: now(), deleted_at: null, purge_at: null })
        .execute()
      await change.event({ name: 'project.created', project_ref: ref })
      return createProjectKeys(change, vault, ref, now(), null)
    })
    return testProject(on, ref, issuersOf(addressing, ref)[0]!, made)
  }

  const join = (user: string, organisation: string, project: string | null, role: string) =>
    on.change(ACTOR, async (change) => {
      const times = { created_at: now(), updated_at: now() }
      await change.trx
        .insertInto('memberships')
        .values({ id: uuid(), organisation_id: organisation, user_id: user, project_ref: project, role, ...times })
        .execute()
      await change.event({ name: 'member.added', subject: user, organisation_id: organisation })
    })

  async function addMember(email: string, roles: readonly { organisation: string; project?: string; role: string }[]) {
    const passwordHash = null
    const user = await on.change(ACTOR, (change) => realm.createUser(change, { email, passwordHash }))
    for (const { organisation, project, role } of roles) await join(user.id, organisation, project ?? null, role)
    const session = await on.change(ACTOR, (change) => realm.openSession(change, user, { ip: null, userAgent: null, requestId: null }))
    return { id: user.id, token: session.access_token }
  }

  return { addOrganisation, addProject, addMember, join }
}

export type Node = Awaited<ReturnType<typeof startGateway>>

/** A real server with the gateway, on metadata of its own. */
export async function startGateway(
  options: Partial<GatewayOptions> & {
    trustedProxies?: string[]
    baseDomain?: string
    publicUrl?: string
    pathForm?: boolean
    former?: FormerAddress[]
  } = {},
) {
  const on = await sqliteMetadata()
  const db = on.metadata.kysely
  let port = 0
  const addressing = {
    publicUrl: () => options.publicUrl ?? `http://127.0.0.1:${port}`,
    baseDomain: options.baseDomain ?? null,
    pathForm: options.pathForm ?? options.baseDomain === undefined,
    former: () => options.former ?? [],
  }
  const realm = makePlatformRealm({ db, change: on.change, hasher: makeHasher(), jwtSecret: 'j'.repeat(32), expiration: 86_400_000, now })
  const denied = makeDenied(db, now)
  const metrics = makeMetrics()
  const gateway = makeGateway({
    fetch: async () => Promise.reject(new Error('no outbound in this test')),
    ...{ db, vault, events: on.bus, realm, denied, metrics, addressing, now },
    ...{ allowKeyless: false, allowedOrigins: ['*'], projectRequests: 0, wakes: 10, localToken: LOCAL_TOKEN },
    ...options,
  })
  const http = makeHttp({ log: silentLog, trustedProxies: options.trustedProxies, server: { rewriteUrl: makeRewrite(addressing) } })
  gateway.install(http)
  addRoutes(http)
  await http.listen({ host: '127.0.0.1', port: 0 })
  port = (http.server.address() as AddressInfo).port
  return {
    ...{ on, db, vault, realm, gateway, http, metrics, addressing },
    ...populate(on, realm, addressing),
    ask: asker(() => port),
    get port() {
      return port
    },
    async close() {
      await http.close()
      metrics.close()
      await on.close()
    },
  }
}

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token with whatever header, signed by HMAC of whatever key. */
export function forge(header: Record<string, unknown>, claims: Claims, key: string): string {
  const input = `${b64(header)}.${b64(claims)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}

export const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` })
