/**
 * A backup is a tar of plain files:
 *
 *   backup.json                          what it is: Header
 *   identity.age                         the backup's own age identity, sealed with the passphrase or for the public keys
 *   installation.age                     sealed to that identity: root keys, configuration (Installation); of a whole installation only
 *   metadata.sqlite.zst                  the metadata database; of a whole installation only
 *   projects/<ref>/<service>.tar.zst     the data directory of each service
 *   projects/<ref>/project.age           sealed to that identity: the project's rows of the metadata with its keys
 *   manifest.json                        size and SHA-256 of all before it
 *   end.json                             SHA-256 of the manifest, and its HMAC under the identity
 *
 * By hand: `tar xf`, `age -d identity.age > key`, `age -d -i key installation.age`, `zstd -d | tar x`.
 */
export const FORMAT = 'sovrabase-backup'
export const VERSION = 1

export const HEADER = 'backup.json'
export const IDENTITY = 'identity.age'
export const INSTALLATION = 'installation.age'
export const METADATA = 'metadata.sqlite.zst'
export const MANIFEST = 'manifest.json'
export const END = 'end.json'
export const projectMember = (ref: string): string => `projects/${ref}/project.age`
export const serviceMember = (ref: string, service: string): string => `projects/${ref}/${service}.tar.zst`

export interface Header {
  readonly format: typeof FORMAT
  readonly version: number
  readonly id: string
  readonly created_at: string
  /** installation: everything of a server. projects: some of its projects, without root key and metadata. */
  readonly scope: 'installation' | 'projects'
  readonly server_version: string
}

/** Sealed: what opens the metadata. */
export interface Installation {
  /** Hexadecimal, the current one first. */
  readonly root_keys: readonly string[]
  readonly jwt_secret: string
  readonly template_key: string
  readonly node_name: string
  /** The text of config.yaml; null: there was none. */
  readonly config: string | null
}

export interface Member {
  readonly name: string
  readonly size: number
  readonly sha256: string
}

export interface ManifestService {
  readonly name: string
  readonly engine: string
  readonly engine_version: string | null
  /** Whether it ran meanwhile: then its data is a base backup. */
  readonly awake: boolean
  /** Bytes of the data directory. */
  readonly bytes: number
}

export interface ManifestProject {
  readonly ref: string
  readonly name: string
  readonly organisation: string
  readonly state: string
  readonly services: readonly ManifestService[]
}

export interface Manifest {
  readonly members: readonly Member[]
  readonly projects: readonly ManifestProject[]
}

export interface End {
  readonly manifest_sha256: string
  readonly manifest_hmac: string
}

/** A row of a table whose secret is open: names as in the metadata's tables. */
export type OpenRow = Readonly<Record<string, string | number | null>>

export interface ServiceRecord {
  readonly name: string
  readonly engine: string
  readonly spec: unknown
  /** Its directory's name where it was. */
  readonly volume: string
  readonly engine_version: string | null
  readonly system_version: number | null
  readonly secrets: Readonly<Record<string, string>>
  /** SHA-256 of its member; null: nothing had been made of it yet. */
  readonly sha256: string | null
}

/** Sealed: all that the metadata holds of a project. */
export interface ProjectRecord {
  readonly ref: string
  readonly name: string
  readonly organisation: { readonly name: string; readonly title: string }
  readonly labels: Readonly<Record<string, string>>
  readonly services: readonly ServiceRecord[]
  readonly realm_keys: readonly OpenRow[]
  readonly api_keys: readonly OpenRow[]
  readonly settings: readonly { readonly section: string; readonly version: number; readonly value: unknown }[]
}

/** First member of what is sent to a server that shall restore one project; its services' tars follow as `<service>.tar.zst`. */
export const RECORD = 'project.json'
export const uploadMember = (service: string): string => `${service}.tar.zst`
