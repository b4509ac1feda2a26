import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { waitingOutboxes } from '../../metadata/outboxes.ts'
import { LINK_LIFE } from '../../realms/platform.ts'
import { platformStore } from '../../realms/platform-store.ts'
import { type Upgrade, upgradeStore } from '../../runtime/upgrade/store.ts'
import { actorOf } from '../actor.ts'
import { archiveStatus, backupStatus } from '../backups/state.ts'
import type { Control } from '../context.ts'
import { time } from '../pages.ts'
import { setupSecret } from '../setup/store.ts'

const Status = Type.Object({
  version: Type.String(),
  node: Type.Object({ name: Type.String(), region: Type.String() }),
  started_at: Type.String(),
  url: Type.String(),
  wire: Type.Union([Type.Object({ host: Type.String(), port: Type.Integer() }), Type.Null()]),
  metadata: Type.String(),
  /** The versions that a service of this engine has from its next wake on. */
  engines: Type.Array(
    Type.Object({
      name: Type.String(),
      version: Type.Union([Type.String(), Type.Null()]),
      system_version: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
  isolation: Type.String(),
  disk: Type.Object({ free: Type.Integer(), total: Type.Integer(), reserve: Type.Integer(), low: Type.Boolean() }),
  backup: Type.Object({
    scheduled: Type.Boolean(),
    last_at: Type.Union([Type.String(), Type.Null()]),
    problem: Type.Union([Type.Literal('failed'), Type.Literal('old'), Type.Literal('never'), Type.Null()]),
    reason: Type.Union([Type.String(), Type.Null()]),
    root_key_exported: Type.Boolean(),
  }),
  archives: Type.Object({
    projects: Type.Integer(),
    late: Type.Array(Type.Object({ ref: Type.String(), since: Type.String(), reason: Type.Union([Type.String(), Type.Null()]) })),
  }),
  /** Of projects without a mail server. */
  mail: Type.Object({ waiting: Type.Integer(), projects: Type.Integer() }),
  /** Projects on their way to a newer major of PostgreSQL, and those whose former directory is kept. */
  upgrades: Type.Object({
    running: Type.Integer(),
    failed: Type.Integer(),
    kept: Type.Integer(),
    kept_since: Type.Union([Type.String(), Type.Null()]),
  }),
  projects: Type.Object({ active: Type.Integer(), awake: Type.Integer(), queued: Type.Integer(), degraded: Type.Integer() }),
})

function upgradesOf(upgrades: readonly Upgrade[]) {
  const kept = upgrades.filter(({ state }) => state === 'kept')
  const since = kept.map(({ endedAt }) => endedAt ?? 0)
  return {
    running: upgrades.filter(({ state }) => state === 'wanted' || state === 'running').length,
    failed: upgrades.filter(({ state }) => state === 'failed').length,
    kept: kept.length,
    kept_since: since.length === 0 ? null : time(Math.min(...since)),
  }
}

export const platformRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, change, realm, addressing } = control

    app.get('/status', { config: { action: 'platform:read', resource: 'platform' }, schema: { response: { 200: Status } } }, async () => {
      const count = await db
        .selectFrom('projects')
        .select((eb) => eb.fn.countAll<number>().as('n'))
        .where('state', '=', 'active')
        .executeTakeFirstOrThrow()
      const unsent = (await waitingOutboxes(db)).filter(({ due }) => due === null)
      const degraded = await control.services.list(db, { status: 'degraded' })
      return {
        version: control.version,
        node: { name: control.node.name, region: control.node.region },
        started_at: time(control.startedAt),
        url: addressing.publicUrl(),
        wire: control.wire(),
        metadata: control.metadata.dialect,
        engines: [...control.engines.values()].map(({ name, version = null, systemVersion = null }) => ({
          ...{ name, version, system_version: systemVersion },
        })),
        isolation: control.drivers.get(control.driver)?.isolation ?? 'same-user',
        backup: await backupStatus(control),
        archives: archiveStatus(control),
        disk: control.space.state(),
        upgrades: upgradesOf(await upgradeStore.list(db)),
        mail: { projects: unsent.length, waiting: unsent.reduce((sum, { waiting }) => sum + waiting, 0) },
        projects: {
          active: Number(count.n),
          awake: [...control.connector.awake()].length,
          queued: control.connector.queued,
          degraded: degraded.length,
        },
      }
    })

    app.post(
      '/admin-links',
      {
        config: { action: 'admin_link:create', resource: 'platform' },
        schema: {
          body: Type.Object({ email: Type.Optional(Type.String({ maxLength: 255 })) }, { additionalProperties: false }),
          response: {
            201: Type.Object({
              url: Type.String(),
              email: Type.Union([Type.String(), Type.Null()]),
              expires_at: Type.Union([Type.String(), Type.Null()]),
            }),
          },
        },
      },
      async (request, reply) => {
        reply.code(201).header('cache-control', 'no-store')
        const { email } = request.body
        const setup = email === undefined ? await setupSecret(control) : null
        if (setup !== null) return { url: `${addressing.publicUrl()}/setup?token=${setup}`, email: null, expires_at: null }
        const user = email === undefined ? await firstAdministrator() : await platformStore(db).userByEmail(email.trim().toLowerCase())
        if (!user?.admin) throw fail('user_unknown', { email: email ?? '' })
        const text = await change(actorOf(request), (c) => realm.createLink(c, user.id, 'admin_link'))
        return { url: `${addressing.publicUrl()}/admin-link?token=${text}`, email: user.email, expires_at: time(control.now() + LINK_LIFE) }
      },
    )

    async function firstAdministrator() {
      const row = await db.selectFrom('auth_users').select('id').where('is_super_admin', '=', 1).orderBy('created_at').executeTakeFirst()
      return row ? platformStore(db).userById(row.id) : null
    }
  }
