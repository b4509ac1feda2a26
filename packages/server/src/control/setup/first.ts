import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { isSovraError } from '../../base/errors.ts'
import { originOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { account, config, mendable, over, send, signedIn, told } from './frame.ts'
import { form, page } from './html.ts'
import { checkSetup, setUp } from './store.ts'
import { type Texts, textsFor } from './texts.ts'

const Token = Type.Object({ token: Type.Optional(Type.String({ maxLength: 128, default: '' })) })
const SetupBody = Type.Object({
  token: Type.String({ maxLength: 128 }),
  email: Type.String({ maxLength: 255 }),
  password: Type.String({ maxLength: 1024 }),
  organisation: Type.String({ minLength: 1, maxLength: 200 }),
})

const setupForm = (t: Texts, token: string, values: { email?: string; organisation?: string } = {}, error?: string) =>
  `<h1>${t.setup}</h1><p>${t.setupIntro}</p>${form({
    action: '/setup',
    token,
    fields: [
      ...account(t, values.email),
      { name: 'organisation', label: t.organisation, type: 'text', autocomplete: 'organization', value: values.organisation ?? '' },
    ],
    submit: t.create,
    ...(error === undefined ? {} : { error }),
  })}`

/** The page that makes the first administrator. */
export const firstAdministratorPages =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/setup', { config, schema: { querystring: Token } }, async (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      const { token = '' } = request.query
      try {
        await checkSetup(control, token)
      } catch (error) {
        if (!isSovraError(error) || mendable(error)) throw error
        return over(request, reply)
      }
      return send(reply, page(lang, t.setup, setupForm(t, token)))
    })

    app.post('/setup', { config, schema: { body: SetupBody } }, async (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      const { body } = request
      let organisation: string
      try {
        const made = await setUp(control, body, originOf(request))
        organisation = made.organisation
        signedIn(control, reply, made.session)
      } catch (error) {
        if (mendable(error)) return send(reply.code(error.status), page(lang, t.setup, setupForm(t, body.token, body, told(t, error))))
        if (isSovraError(error) && error.code !== 'internal') return over(request, reply)
        throw error
      }
      const commands = `npx sovra projects list\nnpx sovra projects create my-app --org ${organisation}\nnpx sovra projects show my-app`
      return send(
        reply,
        page(lang, t.done, `<h1>${t.done}</h1><p>${t.next}</p><pre>${commands}</pre><p><a href="/docs">${t.readReference}</a></p>`),
      )
    })
  }
