import type { AuthApi } from './apis/auth/api.ts'
import { type Mailer, type MailParts, makeMailer, openPost } from './auth-mail.ts'
import type { Outbound } from './base/outbound.ts'
import type { Gateway } from './gateway/gateway.ts'
import { platformAuthApi } from './platform-auth.ts'
import { projectAuthApi } from './project-auth.ts'
import { leakedList } from './realms/auth/leaked-list.ts'
import type { Hasher } from './realms/hashing.ts'
import type { PlatformRealm } from './realms/platform.ts'

export interface AuthParts extends MailParts {
  readonly hasher: Hasher
  readonly version: string
}

/** The realms of projects: their mail, and their API once there is a gateway. */
export interface Auth {
  /** For the control API. */
  readonly mail: Mailer
  api(gateway: Gateway): AuthApi
  /** That of members. */
  platformApi(realm: PlatformRealm, gateway: Gateway): Promise<AuthApi>
  close(): Promise<void>
}

export function makeAuth(parts: AuthParts): Auth {
  const { config, foundation, connector, outbound, hasher, version } = parts
  const mail = makeMailer(parts)
  const post = openPost(parts, mail)
  const fetch: Outbound['fetch'] = (url, wanted) => outbound.fetch(url, wanted)
  const common = {
    bodyLimit: config.limits.body.auth,
    version,
    hasher,
    now: Date.now,
    fetch,
    leaked: config.auth.leaked_passwords === null ? undefined : leakedList(config.auth.leaked_passwords),
    languages: mail.languages,
    foundation,
  }
  return {
    mail,
    close: () => post.close(),
    platformApi: (realm, { addressing, denied }) =>
      platformAuthApi({
        ...common,
        poke(ref) {
          post.seen(ref)
          post.poke(ref)
        },
        realm,
        denied,
        publicUrl: addressing.publicUrl,
      }),
    api: (gateway) => projectAuthApi({ ...common, connector, post, gateway }),
  }
}
