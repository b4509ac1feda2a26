import type { MailPreviewed, MailTested, Outbox } from '@sovrabase/contract/outbox'
import { MAIL_KINDS } from '@sovrabase/contract/plain'
import type { Static } from 'typebox'
import { findProject } from '../api/find.ts'
import { command, type Group } from '../program/command.ts'
import { localTime, table } from '../terminal/output.ts'

export const outbox = command<object, [project: string]>({
  use: 'outbox <project>',
  says: 'mails and text messages to users: what waits, and what was sent',
  examples: ['sovra auth outbox shop', 'sovra auth outbox shop --json'],
  async run(context, _options, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const box = await client.request<Static<typeof Outbox>>('GET', `/projects/${ref}/auth/outbox`)
    if (!box.configured && box.waiting > 0) context.note(`mail_not_configured, ${box.waiting} waiting`)
    const rows = box.items.map(({ created_at, kind, to, subject, state, last_error }) => [
      localTime(created_at),
      kind,
      to,
      subject,
      state,
      last_error ?? '',
    ])
    const waiting = box.items
      .filter(({ state, text }) => state === 'waiting' && text !== '')
      .map(({ to, text }) => `\n— ${to}\n${text.trim()}`)
    return { data: box, text: [table(['WHEN', 'KIND', 'TO', 'SUBJECT', 'STATE', 'ERROR'], rows), ...waiting].join('\n') }
  },
})

const test = command<object, [project: string, address: string]>({
  use: 'test <project> <address>',
  says: "send a test mail through the project's mail server and show what it says",
  examples: ['sovra auth mail test shop you@example.org'],
  async run(context, _options, given, to) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const tested = await client.request<Static<typeof MailTested>>('POST', `/projects/${ref}/auth/mail-test`, { body: { to } })
    return { data: tested, text: `${tested.host}: ${tested.answer}` }
  },
})

const preview = command<{ language?: string }, [project: string, kind: string]>({
  use: 'preview <project> <kind>',
  says: 'a mail as users get it, with the template in force',
  examples: ['sovra auth mail preview shop confirmation --language fr'],
  flags: [['--language <name>', "en, fr, or a further one of the server's; default: the project's"]],
  choices: { kind: MAIL_KINDS },
  async run(context, { language }, given, kind) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const body = { kind, ...(language === undefined ? {} : { language }) }
    const shown = await client.request<Static<typeof MailPreviewed>>('POST', `/projects/${ref}/auth/mail-preview`, { body })
    return { data: shown, text: `${shown.subject}\n\n${shown.text.trim()}` }
  },
})

export const mail: Group = { name: 'mail', says: "mails to a project's users", commands: [test, preview] }
