import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserExport, UserImport, UserImported } from '@sovrabase/contract/auth-users'
import { Id, Ref } from '@sovrabase/contract/common'
import { USER_BATCH } from '@sovrabase/contract/plain'
import { Type } from 'typebox'
import { uuid } from '../../base/ids.ts'
import { exportUsers, importIdentities, importUsers } from '../../realms/auth/transfer.ts'
import type { RealmStore } from '../../realms/store/types.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { overPeople } from './people.ts'

const Params = Type.Object({ ref: Ref })
const BATCH_BYTES = 16 * 1024 * 1024

/** Users of a project, in and out. Told in the log of its own realm. */
export const userRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const over = overPeople(control)
    const told = (store: RealmStore, action: string, actor: { id: string; ip: string | null }, traits: object) =>
      store.audit({
        id: uuid(),
        payload: { action, actor_id: actor.id, actor_username: '', actor_via_sso: false, log_type: 'team', traits },
        createdAt: control.now(),
        ip: actor.ip ?? '',
      })

    app.post(
      '/projects/:ref/auth/users/import',
      {
        bodyLimit: BATCH_BYTES,
        config: { action: 'auth_user:import', resource: 'project' },
        schema: { params: Params, body: UserImport, response: { 200: UserImported } },
      },
      (request) => {
        const { users = [], identities = [], dry_run: dryRun = false } = request.body
        const options = { dryRun, now: control.now() }
        return over(projectRefOf(request), async (store) => {
          const one = await importUsers(store, users, options)
          const two = await importIdentities(store, identities, options)
          const created = one.created + two.created
          if (!dryRun && created > 0) await told(store, 'users_imported', actorOf(request), { created })
          const late = two.refused.map(({ index, reason }) => ({ index: users.length + index, reason }))
          return { created, skipped: one.skipped + two.skipped, refused: [...one.refused, ...late] }
        })
      },
    )

    app.get(
      '/projects/:ref/auth/users/export',
      {
        config: { action: 'auth_user:export', resource: 'project' },
        schema: { params: Params, querystring: Type.Object({ after: Type.Optional(Id) }), response: { 200: UserExport } },
      },
      (request) => {
        const { after } = request.query
        return over(projectRefOf(request), async (store) => {
          if (after === undefined) await told(store, 'users_exported', actorOf(request), {})
          return exportUsers(store, after ?? null, USER_BATCH)
        })
      },
    )
  }
