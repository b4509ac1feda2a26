import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { setFact } from '../../metadata/facts.ts'
import { actorOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { EXPORTED } from './state.ts'

/** The root key for the safe: for who owns the machine only, and recorded. */
export const rootKeyRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/root-key/export',
      {
        config: { action: 'root_key:export', resource: 'platform' },
        schema: { response: { 200: Type.Object({ key_id: Type.String(), keys: Type.Array(Type.String()) }) } },
      },
      async (request) => {
        const { keyId } = control.vault
        await control.change(actorOf(request), async (change) => {
          await setFact(change.trx, EXPORTED, keyId)
          await change.event({ name: 'root_key.exported', subject: keyId })
        })
        return { key_id: keyId, keys: control.backup.installation().root_keys as string[] }
      },
    )
  }
