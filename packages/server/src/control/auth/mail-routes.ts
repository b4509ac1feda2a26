import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { MailPreview, MailPreviewed, MailTest, MailTested, Outbox } from '@sovrabase/contract/outbox'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { projectUrl } from '../../gateway/urls.ts'
import { readSettings } from '../../metadata/settings.ts'
import { preview } from '../../realms/mail/preview.ts'
import type { Mail } from '../../realms/store/types.ts'
import { projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { time } from '../pages.ts'
import { needProject } from '../projects/store.ts'
import { overPeople } from './people.ts'

const Params = Type.Object({ ref: Ref })
const SHOWN = 100

const view = (mail: Mail, now: number) => ({
  id: mail.id,
  kind: mail.kind,
  to: mail.recipient,
  subject: mail.subject,
  text: mail.text,
  state: mail.state === 'waiting' && mail.expiresAt <= now ? ('expired' as const) : mail.state,
  attempts: mail.attempts,
  last_error: mail.lastError,
  created_at: time(mail.createdAt),
  expires_at: time(mail.expiresAt),
  sent_at: mail.sentAt === null ? null : time(mail.sentAt),
})

/** Mails of a project's realm: what waits, and whether its server takes one. */
export const mailRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    const over = overPeople(control)
    app.get(
      '/projects/:ref/auth/outbox',
      { config: { action: 'auth_outbox:read', resource: 'project' }, schema: { params: Params, response: { 200: Outbox } } },
      async (request) => {
        const ref = projectRefOf(request)
        const now = control.now()
        const [mails, waiting] = await over(ref, async (store) => [
          await store.mails({ limit: SHOWN, offset: 0 }),
          await store.countMails('waiting', now),
        ])
        const configured = (await control.mail.smtp(ref)) !== null
        return { configured, waiting, items: mails.map((mail) => view(mail, now)) }
      },
    )

    app.post(
      '/projects/:ref/auth/mail-test',
      {
        config: { action: 'auth_mail:test', resource: 'project' },
        schema: { params: Params, body: MailTest, response: { 200: MailTested } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        const project = await needProject(control.db, ref)
        const smtp = await control.mail.smtp(ref)
        if (!smtp) {
          const waiting = await over(ref, (store) => store.countMails('waiting', control.now()))
          throw fail('mail_not_configured', { waiting })
        }
        const text = `This is a test of the mail server of the project ${project.name}.`
        const letter = { to: request.body.to, subject: `Test mail of ${project.name}`, text: `${text}\n`, html: `<p>${text}</p>` }
        return { host: smtp.host, answer: await control.mail.send(smtp, letter) }
      },
    )

    app.post(
      '/projects/:ref/auth/mail-preview',
      {
        config: { action: 'setting:read', resource: 'project' },
        schema: { params: Params, body: MailPreview, response: { 200: MailPreviewed } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        await needProject(control.db, ref)
        const { value } = await readSettings(control.db, ref, 'auth', control.vault)
        const { kind, language = value.language ?? 'en', template = value.templates?.[kind] } = request.body
        const { languages } = control.mail
        if (!languages.names.includes(language)) throw fail('mail_language_unknown', { language, known: languages.names.join(', ') })
        return preview(kind, languages.mail(kind, language), template, value.site_url ?? projectUrl(control.addressing, ref))
      },
    )
  }
