import formbody from '@fastify/formbody'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { checkForm } from '../../gateway/cookie.ts'
import type { Control } from '../context.ts'
import { refuseNul } from '../input.ts'
import { adminLinkPages } from './admin-link.ts'
import { authenticatorPages } from './authenticator.ts'
import { firstAdministratorPages } from './first.ts'
import { config, send } from './frame.ts'
import { page } from './html.ts'
import { invitationPages } from './invitation.ts'
import { textsFor } from './texts.ts'

/** Pages of first contact: welcome, set-up, invitation, administrator's link. No page needs JavaScript. */
export const setupPages =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    await app.register(formbody)
    app.addHook('preValidation', refuseNul)
    app.addHook('preValidation', async (request) => {
      if (request.method === 'POST') checkForm(request)
    })
    app.get('/', { config }, (request, reply) => {
      const { lang, t } = textsFor(request.headers['accept-language'])
      return send(reply, page(lang, t.welcome, `<h1>${t.welcome}</h1><p>${t.welcomeBody}</p><p><a href="/docs">${t.readReference}</a></p>`))
    })
    for (const pages of [firstAdministratorPages, invitationPages, adminLinkPages, authenticatorPages]) await app.register(pages(control))
  }
