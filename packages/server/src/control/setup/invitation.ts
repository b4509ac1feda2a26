import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { isSovraError } from '../../base/errors.ts'
import type { MemberSession } from '../../realms/platform.ts'
import { platformStore } from '../../realms/platform-store.ts'
import { normalEmail } from '../../realms/users.ts'
import { originOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { acceptInvitation, openInvitation, refuseOther } from '../members/store.ts'
import { account, config, mendable, over, send, signedIn, told } from './frame.ts'
import { form, page } from './html.ts'
import { type Texts, textsFor } from './texts.ts'

const Token = Type.Object({ token: Type.Optional(Type.String({ maxLength: 128, default: '' })) })
const AccountBody = Type.Object({
  token: Type.String({ maxLength: 128 }),
  email: Type.String({ maxLength: 255 }),
  password: Type.String({ maxLength: 1024 }),
})

const invitationForm = (t: Texts, token: string, email?: string, error?: string) =>
  `<h1>${t.invitation}</h1><p>${t.invitationIntro}</p>${form({
    action: '/invitation',
    token,
    fields: account(t, email),
    submit: t.join,
    ...(error === undefined ? {} : { error }),
  })}`

/** With an account: its password is proved. Without: the account is made in the same transaction that uses the invitation up. */
async function join(
  { realm, db, change, now }: Control,
  body: { token: string; email: string; password: string },
  request: FastifyRequest,
): Promise<MemberSession> {
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

/** The page behind an invitation's link. */
export const invitationPages =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { db, now } = control
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

    app.post('/invitation', { config, schema: { body: AccountBody } }, async (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      const { body } = request
      try {
        signedIn(control, reply, await join(control, body, request))
      } catch (error) {
        if (mendable(error))
          return send(reply.code(error.status), page(lang, t.invitation, invitationForm(t, body.token, body.email, told(t, error))))
        if (isSovraError(error, 'link_not_valid')) return over(request, reply)
        throw error
      }
      return send(reply, page(lang, t.joined, `<h1>${t.joined}</h1>`))
    })
  }
