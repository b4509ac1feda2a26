import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { isSection, SECTIONS, type Section } from '@sovrabase/contract/settings'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { readSettings, writeSettings } from '../../metadata/settings.ts'
import { PLATFORM } from '../../realms/denied.ts'
import { actorOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { versionOf } from '../input.ts'
import { merged, SectionAnswer, SectionPatch, shown } from './shape.ts'

const Params = Type.Object({ section: Type.Enum(Object.keys(SECTIONS) as Section[]) })

function sectionOf(name: string): Section {
  if (!isSection(name)) throw fail('not_found')
  return name
}

/** Settings of the platform: how members sign in, and what projects inherit (the mail server). */
export const platformSettingRoutes =
  ({ db, vault, change }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/platform/settings/:section',
      { config: { action: 'platform_setting:read', resource: 'platform' }, schema: { params: Params, response: { 200: SectionAnswer } } },
      async (request, reply) => {
        const section = sectionOf(request.params.section)
        const answer = shown(section, await readSettings(db, PLATFORM, section, vault))
        reply.header('etag', `"${answer.version}"`)
        return answer
      },
    )

    app.patch(
      '/platform/settings/:section',
      {
        config: { action: 'platform_setting:update', resource: 'platform' },
        schema: { params: Params, body: SectionPatch, response: { 200: SectionAnswer } },
      },
      async (request) => {
        const section = sectionOf(request.params.section)
        const given = versionOf(request)
        await change(actorOf(request), async (c) => {
          const before = await readSettings(c.trx, PLATFORM, section, vault)
          await writeSettings(c, PLATFORM, section, merged(section, before.own, request.body), { vault, version: given ?? before.version })
        })
        return shown(section, await readSettings(db, PLATFORM, section, vault))
      },
    )
  }
