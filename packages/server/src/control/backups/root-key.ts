import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { getFact, setFact } from '../../metadata/facts.ts'
import { listNodes } from '../../metadata/nodes.ts'
import { RESEAL, ROOT_KEY, reseal } from '../../metadata/reseal.ts'
import { actorOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { EXPORTED } from './state.ts'

const RootKey = Type.Object({
  key_id: Type.String({ description: 'Names the key in force without telling it' }),
  source: Type.String({ description: 'The file or variable that it comes from' }),
  former: Type.Integer({ description: 'Former keys that are still at hand' }),
  sealed: Type.Boolean({ description: 'Whether all that is stored is sealed with the key in force' }),
})

/** The root key: for who owns the machine, and recorded. */
export const rootKeyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { vault, rootKey, db, change, metadata } = control

    const state = async () => ({
      key_id: vault.keyId,
      source: rootKey.source,
      former: rootKey.revealRootKeys().length - 1,
      sealed: (await getFact<string>(db, ROOT_KEY)) === vault.keyId,
    })
    async function needSealed(): Promise<void> {
      if (!(await state()).sealed) throw fail('root_key_resealing', { key_id: vault.keyId })
    }

    app.get('/root-key', { config: { action: 'root_key:read', resource: 'platform' }, schema: { response: { 200: RootKey } } }, async () =>
      state(),
    )

    app.post(
      '/root-key/export',
      {
        config: { action: 'root_key:export', resource: 'platform' },
        schema: { response: { 200: Type.Object({ key_id: Type.String(), keys: Type.Array(Type.String()) }) } },
      },
      async (request) => {
        const { keyId } = vault
        await change(actorOf(request), async (c) => {
          await setFact(c.trx, EXPORTED, keyId)
          await c.event({ name: 'root_key.exported', subject: keyId })
        })
        return { key_id: keyId, keys: rootKey.revealRootKeys() }
      },
    )

    // New secrets are sealed with it at once; those that are stored follow in the background, and open meanwhile with the former one.
    app.post(
      '/root-key/rotate',
      { config: { action: 'root_key:rotate', resource: 'platform' }, schema: { response: { 202: RootKey } } },
      async (request, reply) => {
        await needSealed()
        const nodes = (await listNodes(metadata, control.now())).filter(({ alive }) => alive).length
        if (nodes > 1) throw fail('root_key_shared', { nodes })
        const before = vault.keyId
        const key = rootKey.rotateRootKey()
        await change(actorOf(request), async (c) => {
          await c.event({ name: 'root_key.rotated', subject: key, before: { key_id: before }, after: { key_id: key } })
          await c.job({ kind: RESEAL, key })
        })
        reply.code(202)
        return state()
      },
    )

    app.post(
      '/root-key/forget',
      { config: { action: 'root_key:rotate', resource: 'platform' }, schema: { response: { 200: RootKey } } },
      async (request) => {
        await needSealed()
        // Once more: what was sealed before the rotation may have been written after the walk.
        const { failed } = await reseal(metadata, vault, control.log)
        if (failed > 0) throw fail('root_key_in_use', { failed })
        const former = rootKey.forgetFormerRootKeys()
        await change(actorOf(request), (c) => c.event({ name: 'root_key.forgotten', subject: vault.keyId, after: { former } }))
        return state()
      },
    )
  }
