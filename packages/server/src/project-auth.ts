import type { FastifyRequest } from 'fastify'
import { type AuthApi, authApi } from './apis/auth/api.ts'
import type { AuthOptions } from './apis/auth/options.ts'
import type { Foundation } from './foundation.ts'
import type { Gateway } from './gateway/gateway.ts'
import { projectOf } from './gateway/resolve.ts'
import { administersUsers } from './gateway/roles.ts'
import type { ProjectPrincipal } from './gateway/types.ts'
import { type Actor, SYSTEM } from './metadata/change.ts'
import { readSettings, writeSettings } from './metadata/settings.ts'
import { clusterTransaction } from './realms/cluster-store.ts'
import { denySession } from './realms/denied.ts'
import type { Post } from './realms/mail/post.ts'
import { ofSaml, samlKeys } from './realms/saml/keys.ts'
import { keepingAddresses } from './realms/store/addresses.ts'
import type { Connector } from './runtime/connect.ts'
import type { Cluster } from './runtime/engines/postgres/cluster.ts'

const DATABASE = 'db'
const AUTH: Actor = { ...SYSTEM, id: 'auth' }

interface ProjectAuthParts extends Pick<AuthOptions, 'bodyLimit' | 'version' | 'hasher' | 'now' | 'fetch' | 'leaked' | 'languages'> {
  readonly foundation: Foundation
  readonly connector: Connector
  readonly post: Post
  readonly gateway: Gateway
}

const principalOf = (request: FastifyRequest) => request.principal as ProjectPrincipal | null

/** What a project's realm is set to, in metadata. */
function settingsOf({ metadata, secrets: { vault }, change }: Foundation): AuthOptions['settings'] {
  return {
    read: async (request) => (await readSettings(metadata.kysely, projectOf(request).ref, 'auth', vault)).own,
    write: (request, edit) =>
      change(AUTH, async (c) => {
        const { ref, organisation } = projectOf(request)
        const { own, version } = await readSettings(c.trx, ref, 'auth', vault)
        await writeSettings(c, ref, 'auth', edit(own), { vault, version, organisation_id: organisation })
      }),
  }
}

/** Its people, in its own database. */
function peopleOf({ foundation: { change, keepAddress }, connector, post, gateway }: ProjectAuthParts): AuthOptions['people'] {
  return (request) => ({
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
  })
}

/** The users of projects sign in at `/auth/v1` of theirs. */
export function projectAuthApi(parts: ProjectAuthParts): AuthApi {
  const { foundation, connector: _connector, post, gateway: _gateway, ...rest } = parts
  const { metadata, secrets, change } = foundation
  return authApi({
    ...rest,
    project: projectOf,
    principal: principalOf,
    administers: (request) => administersUsers(principalOf(request)),
    async samlKeys(request) {
      const { ref, keys } = projectOf(request)
      const known = ofSaml(keys)
      if (known.some(({ state }) => state === 'current')) return known
      return samlKeys({ db: metadata.kysely, vault: secrets.vault, change, realm: ref }, AUTH)
    },
    settings: settingsOf(foundation),
    people: peopleOf(parts),
    poke: (ref) => post.poke(ref),
  })
}
