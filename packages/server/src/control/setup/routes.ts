import formbody from '@fastify/formbody'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { isSovraError, type SovraError } from '../../base/errors.ts'
import { checkForm, setSessionCookie } from '../../gateway/cookie.ts'
import { pageHeaders } from '../../gateway/headers.ts'
import type { MemberSession } from '../../realms/platform.ts'
import { platformStore } from '../../realms/platform-store.ts'
import { normalEmail, PASSWORD_CHARS_MIN } from '../../realms/users.ts'
import { originOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { refuseNul } from '../input.ts'
import { acceptInvitation, openInvitation, refuseOther } from '../members/store.ts'
import { type Field, form, page } from './html.ts'
import { checkSetup, setUp } from './store.ts'
import { type Texts, textsFor } from './texts.ts'

const Token = Type.Object({ token: Type.Optional(Type.String({ maxLength: 128, default: '' })) })
const SetupBody = Type.Object({
  token: Type.String({ maxLength: 128 }),
  email: Type.String({ maxLength: 255 }),
  password: Type.String({ maxLength: 1024 }),
  organisation: Type.String({ minLength: 1, maxLength: 200 }),
})
const AccountBody = Type.Object({
  token: Type.String({ maxLength: 128 }),
  email: Type.String({ maxLength: 255 }),
  password: Type.String({ maxLength: 1024 }),
})
const LinkBody = Type.Object({ token: Type.String({ maxLength: 128 }), password: Type.Optional(Type.String({ maxLength: 1024 })) })

const account = (t: Texts, email = ''): Field[] => [
  { name: 'email', label: t.email, type: 'email', autocomplete: 'username', value: email },
  { name: 'password', label: t.password, type: 'password', autocomplete: 'new-password', hint: t.passwordHint },
]

const told = (t: Texts, error: SovraError): string => t.errors[error.code] ?? error.message

/** Errors that the person can mend in the form; with others the link itself is at fault. */
const mendable = (error: unknown): error is SovraError =>
  isSovraError(error) && !['link_not_valid', 'setup_done', 'internal'].includes(error.code)

/** Pages of first contact: welcome, set-up, invitation, administrator's link. No page needs JavaScript. */
export const setupPages =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    await app.register(formbody)
    app.addHook('preValidation', refuseNul)
    app.addHook('preValidation', async (request) => {
      if (request.method === 'POST') checkForm(request)
    })
    const { realm, db, change, now } = control
    const config = { action: 'public' } as const
    const secure = () => control.addressing.publicUrl().startsWith('https:')

    const send = (reply: FastifyReply, html: string) => pageHeaders(reply).type('text/html; charset=utf-8').send(html)
    const over = (request: FastifyRequest, reply: FastifyReply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      return send(reply.code(403), page(lang, t.linkOver, `<h1>${t.linkOver}</h1><p>${t.linkOverBody}</p>`))
    }
    const signedIn = (reply: FastifyReply, session: MemberSession) =>
      setSessionCookie(reply, session.access_token, { secure: secure(), maxAge: session.expires_in })

    app.get('/', { config }, (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      return send(reply, page(lang, t.welcome, `<h1>${t.welcome}</h1><p>${t.welcomeBody}</p><p><a href="/docs">${t.readReference}</a></p>`))
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
        signedIn(reply, made.session)
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

    const invitationForm = (t: Texts, token: string, email?: string, error?: string) =>
      `<h1>${t.invitation}</h1><p>${t.invitationIntro}</p>${form({
        action: '/invitation',
        token,
        fields: account(t, email),
        submit: t.join,
        ...(error === undefined ? {} : { error }),
      })}`

    app.get('/invitation', { config, schema: { querystring: Token } }, async (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      const { token = '' } = request.query
      try {
        const invitation = await openInvitation(db, token, now())
        return send(reply, page(lang, t.invitation, invitationForm(t, token, invitation.email ?? undefined)))
      } catch (error) {
        if (isSovraError(error, 'link_not_valid')) return over(request, reply)
        throw error
      }
    })

    /** With an account: its password is proved. Without: the account is made in the same transaction that uses the invitation up. */
    async function join(body: { token: string; email: string; password: string }, request: FastifyRequest): Promise<MemberSession> {
      const caller = originOf(request)
      const invitation = await openInvitation(db, body.token, now())
      const email = normalEmail(body.email)
      refuseOther(invitation, email)
      const actor = { id: 'invitation', kind: 'system', ip: caller.ip, requestId: caller.requestId } as const
      if (await platformStore(db).userByEmail(email)) {
        const session = await realm.signIn(email, body.password, caller)
        await change(actor, (c) => acceptInvitation(c, body.token, session.user, now()))
        return session
      }
      const passwordHash = await realm.hashPassword(body.password)
      return change(actor, async (c) => {
        const user = await realm.createUser(c, { email, passwordHash })
        await acceptInvitation(c, body.token, user, now())
        return realm.openSession(c, user, caller)
      })
    }

    app.post('/invitation', { config, schema: { body: AccountBody } }, async (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      const { body } = request
      try {
        signedIn(reply, await join(body, request))
      } catch (error) {
        if (mendable(error))
          return send(reply.code(error.status), page(lang, t.invitation, invitationForm(t, body.token, body.email, told(t, error))))
        if (isSovraError(error, 'link_not_valid')) return over(request, reply)
        throw error
      }
      return send(reply, page(lang, t.joined, `<h1>${t.joined}</h1>`))
    })

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
        signedIn(reply, session)
      } catch (error) {
        if (isSovraError(error, 'link_not_valid')) return over(request, reply)
        throw error
      }
      return send(reply, page(lang, t.signedIn, `<h1>${t.signedIn}</h1>`))
    })
  }
