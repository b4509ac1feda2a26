import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { isSovraError } from '../../base/errors.ts'
import { PASSWORD_CHARS_MIN } from '../../realms/users.ts'
import { originOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { config, over, send, signedIn } from './frame.ts'
import { form, page } from './html.ts'
import { type Texts, textsFor } from './texts.ts'

const Token = Type.Object({ token: Type.Optional(Type.String({ maxLength: 128, default: '' })) })
const LinkBody = Type.Object({ token: Type.String({ maxLength: 128 }), password: Type.Optional(Type.String({ maxLength: 1024 })) })

// A GET must not use the link up: mail scanners and previews follow links.
const linkForm = (t: Texts, token: string, error?: string) =>
  `<h1>${t.signIn}</h1><p>${t.signInIntro}</p>${form({
    action: '/admin-link',
    token,
    fields: [
      {
        name: 'password',
        label: t.newPassword,
        type: 'password',
        autocomplete: 'new-password',
        hint: t.newPasswordHint,
        optional: true,
      },
    ],
    submit: t.continue,
    ...(error === undefined ? {} : { error }),
  })}`

/** The page behind an administrator's link. */
export const adminLinkPages =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { realm } = control
    app.get('/admin-link', { config, schema: { querystring: Token } }, (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      return send(reply, page(lang, t.signIn, linkForm(t, request.query.token ?? '')))
    })

    app.post('/admin-link', { config, schema: { body: LinkBody } }, async (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      const { token, password = '' } = request.body
      // Before the link is used up: it works once.
      if (password !== '' && [...password].length < PASSWORD_CHARS_MIN)
        return send(reply.code(422), page(lang, t.signIn, linkForm(t, token, t.passwordHint)))
      try {
        const session = await realm.useLink('admin_link', token, originOf(request))
        const actor = { id: session.user.id, kind: 'member', ip: request.ip, requestId: request.id } as const
        if (password !== '') await realm.setPassword(actor, session.user.id, password, realm.verify(session.access_token).sessionId)
        signedIn(control, reply, session)
      } catch (error) {
        if (isSovraError(error, 'link_not_valid')) return over(request, reply)
        throw error
      }
      return send(reply, page(lang, t.signedIn, `<h1>${t.signedIn}</h1>`))
    })
  }
