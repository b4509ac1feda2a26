import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Id, Page, Ref } from '@sovrabase/contract/common'
import { ApiKey, ApiKeyCreate, ApiKeyWithText, Connection, RevealedKeys, UserToken, UserTokenCreate } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { randomToken } from '../../base/ids.ts'
import { issuersOf } from '../../gateway/urls.ts'
import {
  createApiKey,
  type ApiKey as Key,
  type ApiKeyWithText as KeyWithText,
  listApiKeys,
  revealApiKeys,
  revokeApiKey,
  rotateSharedSecret,
} from '../../realms/api-keys.ts'
import { currentKey, readRealmKeys } from '../../realms/keys.ts'
import { signToken } from '../../realms/tokens.ts'
import { reconcileJob } from '../../runtime/reconcile.ts'
import { actorOf, callerOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { time, timeOrNull } from '../pages.ts'
import { needProject } from '../projects/store.ts'

const Params = Type.Object({ ref: Ref })
const OWNER = 'postgres'
const DATABASE = 'db'
const TOKEN_LIFE_MAX = { ms: 7 * 24 * 3_600_000, says: '7d' }
const OVERLAP_MAX = { ms: 365 * 24 * 3_600_000, says: '365d' }

const keyView = (key: Key) => ({
  id: key.id,
  name: key.name,
  kind: key.kind,
  role: key.role,
  prefix: key.prefix,
  created_at: time(key.createdAt),
  expires_at: timeOrNull(key.expiresAt),
  revoked_at: timeOrNull(key.revokedAt),
})
const withText = (key: KeyWithText) => ({ ...keyView(key), key: key.text })

export const keyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, vault, change, now } = control

    async function living(ref: string): Promise<string> {
      if ((await needProject(db, ref)).state !== 'active') throw fail('project_deleted')
      return ref
    }

    /** Reads what `key:reveal` shows: the newest of each kind under the names that people know. */
    async function revealed(ref: string) {
      const keys = await revealApiKeys(db, vault, ref, now())
      const legacy = currentKey(await readRealmKeys(db, vault, ref, now()), 'legacy')
      const newest = (kind: string) => keys.find((key) => key.kind === kind)?.text ?? ''
      return {
        anon_key: newest('anon'),
        service_role_key: newest('service_role'),
        jwt_secret: legacy.secret ?? '',
        keys: keys.map(withText),
      }
    }

    app.get(
      '/projects/:ref/keys',
      { config: { action: 'key:list', resource: 'project' }, schema: { params: Params, response: { 200: Page(ApiKey) } } },
      async (request) => ({ items: (await listApiKeys(db, projectRefOf(request))).map(keyView), next_cursor: null }),
    )

    // POST: it is an audited act, and its answer must never be cached.
    app.post(
      '/projects/:ref/keys/reveal',
      { config: { action: 'key:reveal', resource: 'project' }, schema: { params: Params, response: { 200: RevealedKeys } } },
      async (request, reply) => {
        const ref = await living(projectRefOf(request))
        const answer = await revealed(ref)
        await change(actorOf(request), (c) => c.event({ name: 'key.revealed', subject: ref, project_ref: ref }))
        reply.header('cache-control', 'no-store')
        return answer
      },
    )

    app.post(
      '/projects/:ref/keys',
      {
        config: { action: 'key:create', resource: 'project' },
        schema: { params: Params, body: ApiKeyCreate, response: { 201: ApiKeyWithText } },
      },
      async (request, reply) => {
        const ref = await living(projectRefOf(request))
        const { name, kind } = request.body
        const legacy = currentKey(await readRealmKeys(db, vault, ref, now()), 'legacy')
        const made = await change(actorOf(request), (c) =>
          createApiKey(c, vault, { realm: ref, name, kind, createdBy: callerOf(request).id, now: now(), legacy }),
        )
        reply.code(201).header('cache-control', 'no-store')
        return withText(made)
      },
    )

    app.delete(
      '/projects/:ref/keys/:id',
      { config: { action: 'key:revoke', resource: 'project' }, schema: { params: Type.Object({ ref: Ref, id: Id }) } },
      async (request, reply) => {
        await change(actorOf(request), (c) => revokeApiKey(c, projectRefOf(request), request.params.id, now()))
        return reply.code(204).send()
      },
    )

    app.post(
      '/projects/:ref/keys/rotate',
      {
        config: { action: 'key:rotate', resource: 'project' },
        schema: {
          params: Params,
          body: Type.Optional(
            Type.Object(
              { overlap: Type.Optional(Type.String({ default: '24h', description: 'How long the former secret and its keys stay good' })) },
              { additionalProperties: false },
            ),
          ),
          response: { 200: RevealedKeys },
        },
      },
      async (request, reply) => {
        const ref = await living(projectRefOf(request))
        const overlap = durationOf(request.body?.overlap ?? '24h', 'overlap', OVERLAP_MAX)
        await change(actorOf(request), (c) =>
          rotateSharedSecret(c, vault, { realm: ref, now: now(), createdBy: callerOf(request).id, overlap }),
        )
        reply.header('cache-control', 'no-store')
        return revealed(ref)
      },
    )

    async function connectionOf(ref: string) {
      const service = await control.services.byName(db, ref, DATABASE)
      const at = control.wire()
      if (!service) throw fail('service_not_found', { name: DATABASE })
      if (!at) throw fail('wire_off')
      const user = `${OWNER}.${ref}`
      const password = service.secrets[OWNER] ?? ''
      const db_url = `postgresql://${user}:${encodeURIComponent(password)}@${at.host}:${at.port}/postgres`
      return { db_url, host: at.host, port: at.port, user, password, database: 'postgres' }
    }

    app.post(
      '/projects/:ref/connection/reveal',
      { config: { action: 'connection:reveal', resource: 'project' }, schema: { params: Params, response: { 200: Connection } } },
      async (request, reply) => {
        const ref = await living(projectRefOf(request))
        const answer = await connectionOf(ref)
        await change(actorOf(request), (c) => c.event({ name: 'connection.revealed', subject: ref, project_ref: ref }))
        reply.header('cache-control', 'no-store')
        return answer
      },
    )

    app.post(
      '/projects/:ref/connection/rotate',
      { config: { action: 'connection:rotate', resource: 'project' }, schema: { params: Params, response: { 200: Connection } } },
      async (request, reply) => {
        const ref = await living(projectRefOf(request))
        await change(actorOf(request), async (c) => {
          const service = await control.services.byName(c.trx, ref, DATABASE)
          if (!service) throw fail('service_not_found', { name: DATABASE })
          await control.services.setSecret(c.trx, service.id, OWNER, randomToken(24), now())
          // A new version of the wanted state: the cluster gets the password at its next start.
          await control.services.setSpec(c.trx, service.id, service.spec)
          await c.event({ name: 'connection.rotated', subject: service.id, project_ref: ref })
          await c.job(reconcileJob(service))
        })
        reply.header('cache-control', 'no-store')
        return connectionOf(ref)
      },
    )

    app.post(
      '/projects/:ref/user-tokens',
      {
        config: { action: 'user_token:create', resource: 'project' },
        schema: { params: Params, body: UserTokenCreate, response: { 201: UserToken } },
      },
      async (request, reply) => {
        const ref = await living(projectRefOf(request))
        const { sub, role = 'authenticated', claims = {} } = request.body
        const life = durationOf(request.body.for ?? '1h', 'for', TOKEN_LIFE_MAX)
        const key = currentKey(await readRealmKeys(db, vault, ref, now()), 'legacy')
        const iat = Math.floor(now() / 1000)
        const exp = iat + Math.floor(life / 1000)
        const own = { iss: issuersOf(control.addressing, ref)[0], aud: 'authenticated', sub, role, iat, exp }
        const token = signToken({ ...claims, ...own }, { alg: 'HS256', key: key.key })
        await change(actorOf(request), (c) => c.event({ name: 'user_token.created', subject: ref, project_ref: ref, after: { role, exp } }))
        reply.code(201).header('cache-control', 'no-store')
        return { token, expires_at: time(exp * 1000) }
      },
    )
  }
