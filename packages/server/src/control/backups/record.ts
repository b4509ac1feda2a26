import { SECTIONS, type Section } from '@sovrabase/contract/settings'
import type { ProjectRecord, ServiceRecord } from '../../base/archive/format.ts'
import { fail } from '../../base/errors.ts'
import type { Change } from '../../metadata/change.ts'
import { sealSecrets } from '../../metadata/sealed.ts'
import { readOwnSettings } from '../../metadata/settings.ts'
import type { ApiKeys, RealmKeys } from '../../metadata/tables.ts'
import type { Control } from '../context.ts'
import { labelsOf, type Project } from '../projects/store.ts'

const keyContext = (realm: string, kid: string) => `realm_keys/${realm}/${kid}`
const apiKeyContext = (id: string) => `api_keys/${id}`

/** All that the metadata holds of a project, its secrets open: it leaves this process sealed only. */
export async function readRecord(control: Control, project: Project, services: readonly ServiceRecord[]): Promise<ProjectRecord> {
  const { db, vault } = control
  const { ref } = project
  const owner = db.selectFrom('organisations').select(['name', 'title']).where('id', '=', project.organisation_id)
  const realmKeys = await db.selectFrom('realm_keys').selectAll().where('realm', '=', ref).execute()
  const apiKeys = await db.selectFrom('api_keys').selectAll().where('realm', '=', ref).execute()
  const versions = await db.selectFrom('settings').select(['section', 'version']).where('scope', '=', ref).execute()
  const values = await readOwnSettings(db, ref, vault)
  return {
    ref,
    name: project.name,
    organisation: await owner.executeTakeFirstOrThrow(),
    labels: labelsOf(project),
    services,
    realm_keys: realmKeys.map((row) => ({ ...row, secret: vault.open(row.secret, keyContext(row.realm, row.kid)) })),
    api_keys: apiKeys.map((row) => ({ ...row, secret: vault.open(row.secret, apiKeyContext(row.id)) })),
    settings: versions.flatMap(({ section, version }) => (section in values ? [{ section, version, value: values[section] }] : [])),
  }
}

/** The very keys that the project had: what its applications hold goes on working. */
export async function writeKeys({ trx }: Change, { vault }: Control, record: ProjectRecord): Promise<void> {
  for (const row of record.realm_keys as unknown as readonly RealmKeys[]) {
    const secret = vault.seal(row.secret, keyContext(record.ref, row.kid))
    await trx
      .insertInto('realm_keys')
      .values({ ...row, realm: record.ref, secret })
      .execute()
  }
  for (const row of record.api_keys as unknown as readonly ApiKeys[]) {
    const secret = vault.seal(row.secret, apiKeyContext(row.id))
    await trx
      .insertInto('api_keys')
      .values({ ...row, realm: record.ref, secret })
      .execute()
  }
}

/** Those of sections that this version knows. `setting_malformed` is not asked: they were in force where they come from. */
export async function writeSettings({ trx, now }: Change, { vault }: Control, scope: string, record: ProjectRecord): Promise<void> {
  for (const { section, version, value } of record.settings) {
    if (!Object.hasOwn(SECTIONS, section)) throw fail('backup_section_unknown', { section })
    const json = JSON.stringify(sealSecrets(SECTIONS[section as Section], value, vault, `settings/${scope}/${section}`))
    await trx.insertInto('settings').values({ scope, section, version, json, updated_at: now }).execute()
  }
}
