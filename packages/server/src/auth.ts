import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import { type AuthApi, authApi } from './apis/auth/api.ts'
import type { Log } from './base/log.ts'
import type { Outbound } from './base/outbound.ts'
import type { Config } from './config.ts'
import type { Foundation } from './foundation.ts'
import type { Gateway } from './gateway/gateway.ts'
import { projectOf } from './gateway/resolve.ts'
import { administersUsers } from './gateway/roles.ts'
import type { ProjectPrincipal } from './gateway/types.ts'
import { type Actor, SYSTEM } from './metadata/change.ts'
import { noteOutbox, type Waiting, waitingOutboxes } from './metadata/outboxes.ts'
import { ofOrganisation, readSettings, writeSettings } from './metadata/settings.ts'
import { platformAuthApi } from './platform-auth.ts'
import { carriersOf } from './realms/auth/carriers.ts'
import { leakedList } from './realms/auth/leaked-list.ts'
import { keepingOf, rulesOf } from './realms/auth/rules.ts'
import { clusterTransaction } from './realms/cluster-store.ts'
import { denySession, PLATFORM } from './realms/denied.ts'
import type { Hasher } from './realms/hashing.ts'
import { type Sender, senderOf } from './realms/mail/inherit.ts'
import { type Languages, readLanguages } from './realms/mail/languages.ts'
import { makePost } from './realms/mail/post.ts'
import { type Letter, send } from './realms/mail/smtp.ts'
import type { PlatformRealm } from './realms/platform.ts'
import { platformStore } from './realms/platform-store.ts'
import { ofSaml, samlKeys } from './realms/saml/keys.ts'
import { keepingAddresses } from './realms/store/addresses.ts'
import type { Connector } from './runtime/connect.ts'
import type { Cluster } from './runtime/engines/postgres/cluster.ts'

const DATABASE = 'db'
const AUTH: Actor = { ...SYSTEM, id: 'auth' }

export interface AuthParts {
  readonly config: Config
  readonly foundation: Foundation
  readonly connector: Connector
  readonly outbound: Outbound
  readonly hasher: Hasher
  readonly log: Log
  readonly version: string
}

/** The realms of projects: their mail, and their API once there is a gateway. */
export interface Auth {
  /** For the control API. */
  readonly mail: {
    readonly languages: Languages
    smtp(ref: string): Promise<Sender | null>
    send(smtp: Sender, letter: Letter): Promise<string>
  }
  api(gateway: Gateway): AuthApi
  /** That of members. */
  platformApi(realm: PlatformRealm, gateway: Gateway): Promise<AuthApi>
  close(): Promise<void>
}

export function makeAuth({ config, foundation, connector, outbound, hasher, log, version }: AuthParts): Auth {
  const { metadata, secrets, bus, change, keepAddress } = foundation
  const { vault } = secrets
  const db = metadata.kysely
  const ca = config.network.ca_file === null ? undefined : [...getCACertificates('default'), readFileSync(config.network.ca_file, 'utf8')]

  const languages = readLanguages(config.auth.mail_languages)
  // What is shipped lacks nothing.
  if (config.auth.mail_languages !== null && languages.missing.length > 0)
    log.warn({ missing: languages.missing }, 'mails that a language lacks are sent in English')
  const mail: Auth['mail'] = {
    languages,
    async smtp(ref) {
      const project = await db.selectFrom('projects').select('organisation_id').where('ref', '=', ref).executeTakeFirst()
      const scopes = [PLATFORM, ...(project ? [ofOrganisation(project.organisation_id), ref] : [])]
      return senderOf(await Promise.all(scopes.map(async (scope) => (await readSettings(db, scope, 'auth', vault)).own.smtp)))
    },
    send: (smtp, letter) => send(outbound, smtp, letter, ca),
  }
  const leaked = config.auth.leaked_passwords === null ? undefined : leakedList(config.auth.leaked_passwords)
  const fetch: Outbound['fetch'] = (url, wanted) => outbound.fetch(url, wanted)
  const post = makePost({
    log,
    async note(outbox) {
      if (outbox.ref !== PLATFORM) await change(AUTH, (c) => noteOutbox(c, outbox))
    },
    async carriers(ref) {
      const { own } = await readSettings(db, ref, 'auth', vault)
      return carriersOf(rulesOf(own), await mail.smtp(ref), { fetch, send: mail.send })
    },
    async keeping(ref) {
      return keepingOf(rulesOf((await readSettings(db, ref, 'auth', vault)).own))
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
  // A mail server that was set now sends what waits and is still good, in every project that inherits it.
  const waiting = async (fn: (outbox: Waiting) => void, organisation?: string) => {
    for (const outbox of await waitingOutboxes(db, organisation)) fn(outbox)
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

  return {
    mail,
    close: () => post.close(),
    platformApi: (realm, { addressing, denied }) =>
      platformAuthApi({
        bodyLimit: config.limits.body.auth,
        version,
        hasher,
        now: Date.now,
        fetch,
        leaked,
        languages,
        poke: (ref) => {
          post.seen(ref)
          post.poke(ref)
        },
        foundation,
        realm,
        denied,
        publicUrl: addressing.publicUrl,
      }),
    api: (gateway) =>
      authApi({
        bodyLimit: config.limits.body.auth,
        version,
        hasher,
        now: Date.now,
        project: projectOf,
        principal: (request) => request.principal as ProjectPrincipal | null,
        administers: (request) => administersUsers(request.principal as ProjectPrincipal | null),
        fetch,
        leaked,
        languages,
        async samlKeys(request) {
          const { ref, keys } = projectOf(request)
          const known = ofSaml(keys)
          return known.some(({ state }) => state === 'current') ? known : samlKeys({ db, vault, change, realm: ref }, AUTH)
        },
        settings: {
          read: async (request) => (await readSettings(db, projectOf(request).ref, 'auth', vault)).own,
          write: (request, edit) =>
            change(AUTH, async (c) => {
              const { ref, organisation } = projectOf(request)
              const { own, version } = await readSettings(c.trx, ref, 'auth', vault)
              await writeSettings(c, ref, 'auth', edit(own), { vault, version, organisation_id: organisation })
            }),
        },
        people: (request) => ({
          audience: null,
          async transact(fn) {
            const hold = await gateway.limits.hold(request, connector, DATABASE)
            post.seen(projectOf(request).ref)
            try {
              return await clusterTransaction(hold.attached<Cluster>(), (store) => fn(keepingAddresses(store, keepAddress)))
            } finally {
              hold.release()
            }
          },
          deny: (ids, until) =>
            change(AUTH, async (c) => {
              for (const id of ids) await denySession(c, projectOf(request).ref, id, until)
            }),
        }),
        poke: (ref) => post.poke(ref),
      }),
  }
}
