import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { OrganisationMail } from '@sovrabase/contract/auth'
import { Type } from 'typebox'
import { ofOrganisation, readSettings, writeSettings } from '../../metadata/settings.ts'
import { actorOf, organisationOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { versionOf } from '../input.ts'
import { merged, SectionAnswer, shown } from '../settings/shape.ts'

const Params = Type.Object({ organisation: Type.String({ maxLength: 63 }) })

/** The mail server that projects of an organisation inherit. */
export const organisationMailRoutes =
  ({ db, vault, change }: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const read = async (id: string) => shown('auth', await readSettings(db, ofOrganisation(id), 'auth', vault))

    app.get(
      '/organisations/:organisation/settings/mail',
      {
        config: { action: 'organisation:update', resource: 'organisation' },
        schema: { summary: 'Read the mail server of an organisation', params: Params, response: { 200: SectionAnswer } },
      },
      async (request, reply) => {
        const { version, own } = await read(organisationOf(request))
        reply.header('etag', `"${version}"`)
        return { version, settings: own, own }
      },
    )

    app.patch(
      '/organisations/:organisation/settings/mail',
      {
        config: { action: 'organisation:update', resource: 'organisation' },
        schema: {
          summary: 'Set the mail server that projects inherit',
          params: Params,
          body: OrganisationMail,
          response: { 200: SectionAnswer },
        },
      },
      async (request) => {
        const id = organisationOf(request)
        const given = versionOf(request)
        await change(actorOf(request), async (c) => {
          const before = await readSettings(c.trx, ofOrganisation(id), 'auth', vault)
          const value = merged('auth', before.own, request.body)
          await writeSettings(c, ofOrganisation(id), 'auth', value, { vault, version: given ?? before.version, organisation_id: id })
        })
        const { version, own } = await read(id)
        return { version, settings: own, own }
      },
    )
  }
