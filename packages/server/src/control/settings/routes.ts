import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { isSection, SECTIONS, type Section, type SectionValue } from '@sovrabase/contract/settings'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { readSettings, writeSettings } from '../../metadata/settings.ts'
import { reconcileJob } from '../../runtime/reconcile.ts'
import { actorOf, organisationOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { versionOf } from '../input.ts'
import { needProject } from '../projects/store.ts'
import { SectionAnswer as Answer, merged, SectionPatch, shown } from './shape.ts'

const Params = Type.Object({ ref: Ref, section: Type.Enum(Object.keys(SECTIONS) as Section[]) })

function sectionOf(name: string): Section {
  if (!isSection(name)) throw fail('not_found')
  return name
}

export const settingRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, vault, change } = control

    async function read(ref: string, section: Section) {
      return shown(section, await readSettings(db, ref, section, vault))
    }

    app.get(
      '/projects/:ref/settings/:section',
      { config: { action: 'setting:read', resource: 'project' }, schema: { params: Params, response: { 200: Answer } } },
      async (request, reply) => {
        const answer = await read(projectRefOf(request), sectionOf(request.params.section))
        reply.header('etag', `"${answer.version}"`)
        return answer
      },
    )

    app.patch(
      '/projects/:ref/settings/:section',
      {
        config: { action: 'setting:update', resource: 'project' },
        schema: {
          params: Params,
          body: SectionPatch,
          response: { 200: Answer },
        },
      },
      async (request) => {
        const ref = projectRefOf(request)
        const section = sectionOf(request.params.section)
        const given = versionOf(request)
        await change(actorOf(request), async (c) => {
          if ((await needProject(c.trx, ref)).state !== 'active') throw fail('project_deleted')
          const before = await readSettings(c.trx, ref, section, vault)
          const value = merged(section, before.own, request.body)
          const version = given ?? before.version
          await writeSettings(c, ref, section, value, { vault, version, organisation_id: organisationOf(request) })
          if (section === 'rest') await openGrants(c, ref, (value as SectionValue<'rest'>).default_grants === 'supabase')
        })
        return read(ref, section)
      },
    )

    /** The grants are the cluster's business: its spec says them, and the next start makes them. */
    async function openGrants(c: Parameters<Parameters<typeof change>[1]>[0], ref: string, open: boolean): Promise<void> {
      const service = await control.services.byName(c.trx, ref, 'db')
      const spec = service?.spec as { open_grants?: boolean } | undefined
      if (!service || (spec?.open_grants ?? false) === open) return
      await control.services.setSpec(c.trx, service.id, { ...spec, open_grants: open })
      await c.job(reconcileJob(service))
    }
  }
