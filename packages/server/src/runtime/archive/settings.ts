import type { SectionValue } from '@sovrabase/contract/settings'
import type { Vault } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { directoryStore } from '../../base/objects/directory.ts'
import { placeOf } from '../../base/objects/place.ts'
import { s3Store } from '../../base/objects/s3.ts'
import type { S3Access } from '../../base/objects/s3-request.ts'
import type { ObjectStore } from '../../base/objects/store.ts'
import type { Outbound } from '../../base/outbound.ts'
import type { Metadata } from '../../metadata/open.ts'
import { readSettings } from '../../metadata/settings.ts'
import { archivesKey, signedStore } from './signed.ts'

export type BackupSettings = Required<Omit<SectionValue<'backup'>, 'store'>> & Pick<SectionValue<'backup'>, 'store'>

export interface PlacesOptions {
  readonly metadata: Metadata
  readonly vault: Vault
  /** Where archives go that name no place of their own; null: nowhere. */
  readonly archive: string | null
  /** For addresses that a project's people have set: checked. */
  readonly outbound: Outbound
  /** For those that the operator has set. */
  readonly trusted: Outbound
}

/** Places of backups and archives, opened. */
export interface Places {
  settings(ref: string): Promise<BackupSettings>
  /** Of a project's archive; `archive_store_missing`, `store_place_invalid`. */
  archive(ref: string, settings?: BackupSettings): Promise<ObjectStore>
  /** The installation's; null where none is configured. */
  common(): Promise<ObjectStore | null>
  /** A directory or bucket that the operator named, with the installation's credentials; `store_keys_missing`. */
  open(place: string): Promise<ObjectStore>
}

const PLATFORM = 'platform'

export function makePlaces({ metadata, vault, archive, outbound, trusted }: PlacesOptions): Places {
  const settings = async (ref: string) => (await readSettings(metadata.kysely, ref, 'backup', vault)).value as BackupSettings

  async function open(place: string): Promise<ObjectStore> {
    const at = placeOf(place)
    if (at.kind === 'directory') return directoryStore(at.dir)
    const { store } = await settings(PLATFORM)
    if (!store) throw fail('store_keys_missing', { place })
    return s3Store({ bucket: at.bucket, prefix: at.prefix, access: store as S3Access, outbound: trusted })
  }

  const signed = async (store: ObjectStore, strict: boolean) => signedStore(store, await archivesKey(metadata, vault), strict)
  // The operator's own place is trusted: an archive is of use where the key is lost, too.
  const common = async () => (archive === null ? null : await signed(await open(archive), false))

  return {
    settings,
    open,
    common,
    async archive(ref, given) {
      const { store } = given ?? (await settings(ref))
      if (store) {
        const at = placeOf(store.url ?? '')
        // A directory of this machine is nothing that a project's people may name.
        if (at.kind !== 's3') throw fail('store_place_invalid', { place: store.url ?? '' })
        return await signed(s3Store({ bucket: at.bucket, prefix: at.prefix, access: store as S3Access, outbound }), true)
      }
      const shared = await common()
      if (!shared) throw fail('archive_store_missing')
      return shared
    },
  }
}
