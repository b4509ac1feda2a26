import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ProjectArchive } from '@sovrabase/contract/backup'
import { Ref } from '@sovrabase/contract/common'
import { S3Settings } from '@sovrabase/contract/settings'
import { Type } from 'typebox'
import { fail, isSovraError } from '../../base/errors.ts'
import { readSettings, shownSettings, writeSettings } from '../../metadata/settings.ts'
import { rangesOf } from '../../runtime/archive/plan.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { time } from '../pages.ts'
import { needProject } from '../projects/store.ts'

const PLATFORM = 'platform'
const Store = Type.Object({ store: Type.Union([Type.Unknown(), Type.Null()]) })
const orNull = (at: number | null | undefined): string | null => (at === null || at === undefined ? null : time(at))

/** To which moments a project can be brought. */
export const archiveRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, places, archiver } = control

    async function ranges(ref: string) {
      try {
        return (await rangesOf(await places.archive(ref), ref)).map(({ from, to }) => ({ from: time(from), to: orNull(to) }))
      } catch (error) {
        if (isSovraError(error, 'archive_store_missing')) return []
        throw error
      }
    }

    app.get(
      '/projects/:ref/archive',
      {
        config: { action: 'archive:read', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), response: { 200: ProjectArchive } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        await needProject(db, ref)
        const { point_in_time } = await places.settings(ref)
        const state = archiver.states().find((one) => one.ref === ref)
        return {
          point_in_time,
          ranges: await ranges(ref),
          following: state?.following ?? false,
          unstored_since: orNull(state?.unstored_since),
          failed_at: orNull(state?.failed_at),
          reason: state?.reason ?? null,
        }
      },
    )

    app.post(
      '/projects/:ref/archive/base',
      {
        config: { action: 'project_backup:create', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), response: { 204: Type.Null() } },
      },
      async (request, reply) => {
        const ref = projectRefOf(request)
        const service = await control.services.byName(db, ref, 'db')
        if (!service || !(await places.settings(ref)).point_in_time) throw fail('archive_off', { ref })
        await archiver.takeBase(service)
        return reply.code(204).send(null)
      },
    )
  }

/** The installation's credentials of S3 places. */
export const storeRoutes =
  ({ db, vault, change }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const shown = async () => {
      const { own } = await readSettings(db, PLATFORM, 'backup', vault)
      return { store: (shownSettings('backup', own) as { store?: unknown }).store ?? null }
    }

    app.get(
      '/backups/store',
      { config: { action: 'backup_store:read', resource: 'platform' }, schema: { response: { 200: Store } } },
      shown,
    )

    app.put(
      '/backups/store',
      { config: { action: 'backup_store:update', resource: 'platform' }, schema: { body: S3Settings, response: { 200: Store } } },
      async (request) => {
        await change(actorOf(request), async (c) => {
          await writeSettings(c, PLATFORM, 'backup', { store: request.body }, { vault })
        })
        return shown()
      },
    )
  }
