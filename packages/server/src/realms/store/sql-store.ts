import type { Kysely } from 'kysely'
import type { Tables } from '../../metadata/tables.ts'
import { bulk } from './bulk.ts'
import { daily } from './daily.ts'
import { factors, recoveryCodes } from './factors.ts'
import type { Codec } from './fields.ts'
import { passkeys } from './passkeys.ts'
import { samlSessions } from './saml-sessions.ts'
import { refreshTokens, sessions } from './sessions.ts'
import { relayStates, ssoProviders } from './sso.ts'
import { sweeping } from './sweep.ts'
import { flows, oneTimeTokens } from './tokens.ts'
import type { DailyStore, RealmStore } from './types.ts'
import { identities, users } from './users.ts'
import { auditLog, mails, work } from './work.ts'

const small = (db: Kysely<Tables>, codec: Codec): Omit<RealmStore, keyof DailyStore> => ({
  ...users(db, codec),
  ...identities(db, codec),
  ...bulk(db, codec),
  ...sessions(db, codec),
  ...refreshTokens(db, codec),
  ...oneTimeTokens(db, codec),
  ...flows(db, codec),
  ...factors(db, codec),
  ...recoveryCodes(db, codec),
  ...passkeys(db, codec),
  ...ssoProviders(db, codec),
  ...relayStates(db, codec),
  ...samlSessions(db, codec),
  ...mails(db, codec),
  ...auditLog(db, codec),
  ...work(db, codec),
  ...sweeping(db, codec),
})

/** A realm's people over a handle or a transaction. */
export function sqlStore(db: Kysely<Tables>, codec: Codec): RealmStore {
  const store = small(db, codec)
  return { ...store, ...daily(store) }
}
