import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { SigningKey, SigningKeyAlg } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import type { Http } from '../../base/http.ts'
import { readSettings } from '../../metadata/settings.ts'
import { insertKey, KEY_OVERLAP, keysChanged, type RealmKey, readRealmKeys, revokeKey, rotateKey } from '../../realms/keys.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { time } from '../pages.ts'
import { living, Params } from './living.ts'

export const OVERLAP_MAX = { ms: 365 * 24 * 3_600_000, says: '365d' }
const SKEW = 60_000
const Wish = { alg: Type.Optional(SigningKeyAlg) }
const closed = { additionalProperties: false } as const

export const keyView = ({ kid, alg, state, createdAt, expiresAt }: RealmKey) => ({
  kid,
  alg,
  state,
  created_at: time(createdAt),
  expires_at: expiresAt === null ? null : time(expiresAt),
})

/** Those that are not forgotten yet. What they are is never told: only their public halves, at /.well-known/jwks.json. */
const keysOf = async ({ db, vault, now }: Control, ref: string) =>
  (await readRealmKeys(db, vault, ref, now())).filter(({ use }) => use === 'user').map(keyView)

/** Which there are, and one more that signs after the next rotation. */
function prepare(app: Http, control: Control): void {
  const { vault, change, now } = control
  app.get(
    '/projects/:ref/signing-keys',
    {
      config: { action: 'key:list', resource: 'project' },
      schema: {
        summary: 'List keys that sign tokens of users',
        params: Params,
        response: { 200: Type.Object({ items: Type.Array(SigningKey) }) },
      },
    },
    async (request) => ({ items: await keysOf(control, await living(control, projectRefOf(request))) }),
  )

  app.post(
    '/projects/:ref/signing-keys',
    {
      config: { action: 'key:rotate', resource: 'project' },
      schema: {
        summary: 'Make the next signing key, published before it signs',
        params: Params,
        body: Type.Optional(Type.Object(Wish, closed)),
        response: { 201: SigningKey },
      },
    },
    async (request, reply) => {
      const ref = await living(control, projectRefOf(request))
      const alg = request.body?.alg ?? 'ES256'
      const made = await change(actorOf(request), async (c) => {
        const key = await insertKey(c, vault, { realm: ref, use: 'user', alg, now: now(), state: 'next' })
        await keysChanged(c, ref, key.kid)
        return key
      })
      reply.code(201)
      return keyView(made)
    },
  )
}

/** The next one signs; the former verifies for a while. */
function rotate(app: Http, control: Control): void {
  const { db, vault, change, now } = control
  app.post(
    '/projects/:ref/signing-keys/rotate',
    {
      config: { action: 'key:rotate', resource: 'project' },
      schema: {
        summary: 'Let a new key sign tokens of users',
        params: Params,
        body: Type.Optional(
          Type.Object(
            {
              ...Wish,
              overlap: Type.Optional(
                Type.String({ description: 'How long the former key verifies; default: 24h, or the life of a token' }),
              ),
            },
            closed,
          ),
        ),
        response: { 200: SigningKey },
      },
    },
    async (request) => {
      const ref = await living(control, projectRefOf(request))
      const { alg, overlap } = request.body ?? {}
      const { jwt_expiry } = (await readSettings(db, ref, 'auth', vault)).value
      const life = Math.max(KEY_OVERLAP, (jwt_expiry ?? 0) * 1000 + SKEW)
      const kept = overlap === undefined ? life : durationOf(overlap, 'overlap', OVERLAP_MAX)
      const wish = { realm: ref, use: 'user', now: now(), overlap: kept, ...(alg ? { alg } : {}) } as const
      return keyView(await change(actorOf(request), (c) => rotateKey(c, vault, wish)))
    },
  )
}

function revoke(app: Http, control: Control): void {
  const { change, now } = control
  app.delete(
    '/projects/:ref/signing-keys/:kid',
    {
      config: { action: 'key:rotate', resource: 'project' },
      schema: {
        summary: 'End a retired or waiting signing key at once',
        params: Type.Object({ ref: Ref, kid: Type.String({ maxLength: 64 }) }),
      },
    },
    async (request, reply) => {
      const ref = await living(control, projectRefOf(request))
      const { kid } = request.params
      const known = (await keysOf(control, ref)).some((key) => key.kid === kid)
      await change(actorOf(request), (c) => revokeKey(c, ref, known ? kid : '', now()))
      return reply.code(204).send()
    },
  )
}

/** Keys that sign the tokens of a project's users. */
export const signingKeyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [prepare, rotate, revoke]) routes(app, control)
  }
