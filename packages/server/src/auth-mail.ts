import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import type { Log } from './base/log.ts'
import type { Outbound } from './base/outbound.ts'
import type { Config } from './config.ts'
import type { Foundation } from './foundation.ts'
import { SYSTEM } from './metadata/change.ts'
import { noteOutbox, type Waiting, waitingOutboxes } from './metadata/outboxes.ts'
import { ofOrganisation, readSettings } from './metadata/settings.ts'
import { carriersOf } from './realms/auth/carriers.ts'
import { keepingOf, rulesOf } from './realms/auth/rules.ts'
import { clusterTransaction } from './realms/cluster-store.ts'
import { PLATFORM } from './realms/denied.ts'
import { type Sender, senderOf } from './realms/mail/inherit.ts'
import { type Languages, readLanguages } from './realms/mail/languages.ts'
import { makePost, type Post } from './realms/mail/post.ts'
import { type Letter, send } from './realms/mail/smtp.ts'
import { platformStore } from './realms/platform-store.ts'
import type { Connector } from './runtime/connect.ts'
import type { Cluster } from './runtime/engines/postgres/cluster.ts'

const DATABASE = 'db'
const AUTH = { ...SYSTEM, id: 'auth' }

export interface MailParts {
  readonly config: Config
  readonly foundation: Foundation
  readonly connector: Connector
  readonly outbound: Outbound
  readonly log: Log
}

/** How letters are written and by which server they go. */
export interface Mailer {
  readonly languages: Languages
  /** That of the project, else of its organisation, else of the platform. */
  smtp(ref: string): Promise<Sender | null>
  send(smtp: Sender, letter: Letter): Promise<string>
}

export function makeMailer({ config, foundation, outbound, log }: MailParts): Mailer {
  const { metadata, secrets } = foundation
  const db = metadata.kysely
  const ca = config.network.ca_file === null ? undefined : [...getCACertificates('default'), readFileSync(config.network.ca_file, 'utf8')]
  const languages = readLanguages(config.auth.mail_languages)
  // What is shipped lacks nothing.
  if (config.auth.mail_languages !== null && languages.missing.length > 0)
    log.warn({ missing: languages.missing }, 'mails that a language lacks are sent in English')
  return {
    languages,
    async smtp(ref) {
      const project = await db.selectFrom('projects').select('organisation_id').where('ref', '=', ref).executeTakeFirst()
      const scopes = [PLATFORM, ...(project ? [ofOrganisation(project.organisation_id), ref] : [])]
      return senderOf(await Promise.all(scopes.map(async (scope) => (await readSettings(db, scope, 'auth', secrets.vault)).own.smtp)))
    },
    send: (smtp, letter) => send(outbound, smtp, letter, ca),
  }
}

/** Outboxes that wait are looked at again: at once where a mail server was set, in every project that inherits it, and after a start. */
function remindPost(post: Post, { foundation: { metadata, bus }, log }: MailParts): void {
  const waiting = async (fn: (outbox: Waiting) => void, organisation?: string) => {
    for (const outbox of await waitingOutboxes(metadata.kysely, organisation)) fn(outbox)
  }
  const failed = (err: unknown) => log.warn({ err }, 'outboxes that wait could not be read')
  bus.on(['settings.changed'], ({ subject, project_ref, organisation_id }) => {
    if (subject !== 'auth') return
    if (project_ref !== null) return post.poke(project_ref)
    if (organisation_id === null) post.poke(PLATFORM)
    waiting(({ ref }) => post.poke(ref), organisation_id ?? undefined).catch(failed)
  })
  // What was to be tried again when the server ended.
  waiting(({ ref, due }) => {
    if (due !== null) post.remind(ref, due)
  }).catch(failed)
}

/** The outboxes of all realms. */
export function openPost(parts: MailParts, mail: Mailer): Post {
  const { foundation, connector, outbound, log } = parts
  const { metadata, secrets, change } = foundation
  const settingsOf = async (ref: string) => (await readSettings(metadata.kysely, ref, 'auth', secrets.vault)).own
  const post = makePost({
    log,
    async note(outbox) {
      if (outbox.ref !== PLATFORM) await change(AUTH, (c) => noteOutbox(c, outbox))
    },
    async carriers(ref) {
      const own = await settingsOf(ref)
      const fetch: Outbound['fetch'] = (url, wanted) => outbound.fetch(url, wanted)
      return carriersOf(rulesOf(own), await mail.smtp(ref), { fetch, send: mail.send })
    },
    async keeping(ref) {
      return keepingOf(rulesOf(await settingsOf(ref)))
    },
    async transact(ref, fn) {
      if (ref === PLATFORM) return change(AUTH, (c) => fn(platformStore(c.trx)))
      const hold = await connector.hold(ref, DATABASE, 'auth')
      try {
        return await clusterTransaction(hold.attached<Cluster>(), fn)
      } finally {
        hold.release()
      }
    },
  })
  remindPost(post, parts)
  return post
}
