import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { SigningKey } from '@sovrabase/contract/project'
import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import { type TProperties, Type } from 'typebox'
import { PLATFORM } from '../../realms/denied.ts'
import { readRealmKeys, revokeKey } from '../../realms/keys.ts'
import { type Keyring, ofSaml, prepareSaml, rotateSaml } from '../../realms/saml/keys.ts'
import { actorOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { durationOf } from '../input.ts'
import { living } from './living.ts'
import { keyView, OVERLAP_MAX } from './signing.ts'

const Kid = Type.String({ maxLength: 64 })
const Overlap = Type.Optional(
  Type.Object(
    { overlap: Type.Optional(Type.String({ description: 'How long the former key opens assertions; default: 30d' })) },
    { additionalProperties: false },
  ),
)

/** Of a project, or of members. What reads keys, and what changes them. */
interface Place {
  readonly at: string
  readonly params: TProperties
  readonly read: FastifyContextConfig
  readonly update: FastifyContextConfig
}
const PLACES: readonly Place[] = [
  {
    at: '/projects/:ref/saml-keys',
    params: { ref: Ref },
    read: { action: 'key:list', resource: 'project' },
    update: { action: 'key:rotate', resource: 'project' },
  },
  {
    at: '/platform/saml-keys',
    params: {},
    read: { action: 'platform_setting:read', resource: 'platform' },
    update: { action: 'platform_setting:update', resource: 'platform' },
  },
]

/** Keys of single sign-on: they sign our requests to identity providers and open their assertions. Their certificates are in our metadata. */
export const samlKeyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, vault, change, now } = control

    async function ringOf(request: FastifyRequest): Promise<Keyring> {
      const { ref } = request.params as { ref?: string }
      return { db, vault, change, realm: ref === undefined ? PLATFORM : await living(control, ref) }
    }
    const all = async ({ realm }: Keyring) => ofSaml(await readRealmKeys(db, vault, realm, now()))

    for (const { at, params, read, update } of PLACES) {
      const Params = Type.Object(params)
      const List = Type.Object({ items: Type.Array(SigningKey) })
      app.get(
        at,
        { config: read, schema: { summary: 'List keys of single sign-on', params: Params, response: { 200: List } } },
        async (request) => ({
          items: (await all(await ringOf(request))).map(keyView),
        }),
      )

      app.post(
        at,
        { config: update, schema: { summary: 'Make the next key of single sign-on', params: Params, response: { 201: SigningKey } } },
        async (request, reply) => {
          const made = await prepareSaml(await ringOf(request), actorOf(request))
          reply.code(201)
          return keyView(made)
        },
      )

      const turn = { params: Params, body: Overlap, response: { 200: SigningKey } }
      app.post(`${at}/rotate`, { config: update, schema: turn }, async (request) => {
        const { overlap } = (request.body ?? {}) as { overlap?: string }
        const kept = overlap === undefined ? undefined : durationOf(overlap, 'overlap', OVERLAP_MAX)
        return keyView(await rotateSaml(await ringOf(request), actorOf(request), kept))
      })

      const one = { params: Type.Object({ ...params, kid: Kid }) }
      app.delete(`${at}/:kid`, { config: update, schema: one }, async (request, reply) => {
        const ring = await ringOf(request)
        const { kid } = request.params as { kid: string }
        const known = (await all(ring)).some((key) => key.kid === kid)
        await change(actorOf(request), (c) => revokeKey(c, ring.realm, known ? kid : '', now()))
        return reply.code(204).send()
      })
    }
  }
