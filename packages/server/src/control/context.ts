import type { Kysely } from 'kysely'
import type { Vault } from '../base/crypto.ts'
import type { Space } from '../base/disk-space.ts'
import type { KeepAddress } from '../base/kept-address.ts'
import type { Log } from '../base/log.ts'
import type { LogFiles } from '../base/log-files.ts'
import type { Outbound } from '../base/outbound.ts'
import type { Secrets } from '../base/secrets.ts'
import type { Addressing } from '../gateway/urls.ts'
import type { Changer } from '../metadata/change.ts'
import type { Metadata } from '../metadata/open.ts'
import type { Tables } from '../metadata/tables.ts'
import type { Sender } from '../realms/mail/inherit.ts'
import type { Languages } from '../realms/mail/languages.ts'
import type { Letter } from '../realms/mail/smtp.ts'
import type { PlatformRealm } from '../realms/platform.ts'
import type { Archiver } from '../runtime/archive/archiver.ts'
import type { Places } from '../runtime/archive/settings.ts'
import type { Bases } from '../runtime/base.ts'
import type { Connector } from '../runtime/connect.ts'
import type { Driver } from '../runtime/driver.ts'
import type { Engine } from '../runtime/engine.ts'
import type { Prepared } from '../runtime/prepared.ts'
import type { ServiceStore } from '../runtime/services.ts'
import type { BackupPlace } from './backups/place.ts'
import type { Limits } from './organisations/limits.ts'

/** Everything that the control API works with; made once in node.ts. */
export interface Control {
  readonly metadata: Metadata
  readonly db: Kysely<Tables>
  readonly change: Changer
  readonly vault: Vault
  /** How much of an address is written down. */
  readonly keepAddress: KeepAddress
  readonly rootKey: Pick<Secrets, 'source' | 'revealRootKeys' | 'rotateRootKey' | 'forgetFormerRootKeys'>
  readonly log: Log
  readonly realm: PlatformRealm
  readonly services: ServiceStore
  readonly connector: Connector
  /** Mail of projects' users. */
  readonly mail: {
    readonly languages: Languages
    /** The server of a project: its own, its organisation's or the platform's. */
    smtp(ref: string): Promise<Sender | null>
    /** Answers what the server said; `mail_refused`. */
    send(smtp: Sender, letter: Letter): Promise<string>
  }
  /** The outbound rule. */
  readonly fetch: Outbound['fetch']
  readonly prepared: Prepared
  readonly bases: Bases
  readonly places: Places
  readonly archiver: Archiver
  readonly backup: BackupPlace
  readonly engines: ReadonlyMap<string, Engine>
  readonly drivers: ReadonlyMap<string, Pick<Driver, 'isolation' | 'log' | 'packed' | 'usage' | 'volumes'>>
  /** Room on the disk of the data. */
  readonly space: Space
  /** The log in files; null where it is not written. */
  readonly logs: LogFiles | null
  /** Called when the server ends, for answers that have no end of their own; returns how to take it back. */
  readonly onDrain: (listener: () => void) => () => void
  readonly addressing: Addressing
  /** Host and port that people connect to with the wire protocol; null while the listener is off. */
  readonly wire: () => { readonly host: string; readonly port: number } | null
  readonly node: { readonly id: string; readonly name: string; readonly region: string }
  /** What a new service's spec says where nobody says otherwise, by engine. */
  readonly specDefaults: Readonly<Record<string, object>>
  /** Driver of a service that names none. */
  readonly driver: string
  /** What holds for an organisation that has no limits of its own. */
  readonly organisationLimits: Limits
  /** ms for which a deleted project can be restored. */
  readonly keepDeleted: number
  /** ms that an answer is kept for its Idempotency-Key. */
  readonly keepAnswers: number
  /** ms until a service of that spec sleeps; 0: never. */
  readonly sleepAfter: (spec: { sleep_after?: number }) => number
  /** Resolves at the first event of one of these names for this project, or after `ms`. */
  readonly awaitEvent: (match: { names: readonly string[]; project: string }, ms: number) => Promise<void>
  readonly version: string
  readonly startedAt: number
  readonly now: () => number
}
