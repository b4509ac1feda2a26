import { conflictOf } from '@sovrabase/contract/auth'
import { isSection, SECTIONS, SETTING_DEFAULTS, type Section, type SectionValue } from '@sovrabase/contract/settings'
import type { Kysely, Transaction } from 'kysely'
import type { TSchema } from 'typebox'
import type { Vault } from '../base/crypto.ts'
import { insertIfAbsent } from '../base/db/insert.ts'
import { fail } from '../base/errors.ts'
import { later } from '../base/later.ts'
import { saysOf, type Wrong } from '../base/schema.ts'
import type { Change } from './change.ts'
import { hideSecrets, openSecrets, sealSecrets } from './sealed.ts'
import type { Tables } from './tables.ts'

type Handle = Kysely<Tables> | Transaction<Tables>

export interface Stored<S extends Section> {
  /** 0: nothing was ever written. */
  readonly version: number
  /** What was written, secrets opened. */
  readonly own: SectionValue<S>
  /** With the defaults where nothing was said. */
  readonly value: SectionValue<S>
}

export interface WriteOptions {
  readonly vault: Vault
  /** The version that the caller read; another one now is `setting_changed`. */
  readonly version?: number
  /** The project's organisation, for the event. */
  readonly organisation_id?: string | null
}

const PLATFORM = 'platform'
/** What an organisation sets for its projects: under its id, which no ref of a project looks like. */
export const ofOrganisation = (id: string): string => id
const isOfOrganisation = (scope: string): boolean => scope.includes('-')
const contextOf = (scope: string, section: Section) => `settings/${scope}/${section}`
type Compiler = typeof import('typebox/compile')
const checks = new Map<Section, ReturnType<Compiler['Compile']>>()

function check(section: Section, value: unknown): void {
  const compiled = checks.get(section) ?? later<Compiler>('typebox/compile').Compile(SECTIONS[section] as TSchema)
  checks.set(section, compiled)
  if (compiled.Check(value)) {
    const conflict = section === 'auth' ? conflictOf(value as SectionValue<'auth'>) : null
    if (conflict) throw fail('setting_malformed', { section, ...conflict })
    return
  }
  const all = [...compiled.Errors(value)] as Wrong[]
  const [first] = all
  throw fail('setting_malformed', {
    section,
    path: first?.instancePath || '/',
    reason: first ? saysOf(first, all) : 'it does not match its schema',
  })
}

/** Settings of a scope: 'platform', `ofOrganisation()` or a project's ref. */
export async function readSettings<S extends Section>(db: Handle, scope: string, section: S, vault: Vault): Promise<Stored<S>> {
  const row = await db
    .selectFrom('settings')
    .select(['version', 'json'])
    .where('scope', '=', scope)
    .where('section', '=', section)
    .executeTakeFirst()
  const own = (row ? openSecrets(SECTIONS[section], JSON.parse(row.json), vault, contextOf(scope, section)) : {}) as SectionValue<S>
  return { version: row?.version ?? 0, own, value: { ...SETTING_DEFAULTS[section], ...own } }
}

/** All that a scope has written, by section, secrets opened. */
export async function readOwnSettings(db: Handle, scope: string, vault: Vault): Promise<Record<string, unknown>> {
  const rows = await db.selectFrom('settings').select(['section', 'json']).where('scope', '=', scope).execute()
  const known = rows.filter((row): row is typeof row & { section: Section } => isSection(row.section))
  return Object.fromEntries(
    known.map(({ section, json }) => [section, openSecrets(SECTIONS[section], JSON.parse(json), vault, contextOf(scope, section))]),
  )
}

/** Replaces a section as a whole; secrets are sealed. Answers the new version, tells `settings.changed` (without values). */
export async function writeSettings<S extends Section>(
  change: Change,
  scope: string,
  section: S,
  value: SectionValue<S>,
  options: WriteOptions,
): Promise<number> {
  check(section, value)
  const { trx } = change
  const before = await trx
    .selectFrom('settings')
    .select('version')
    .where('scope', '=', scope)
    .where('section', '=', section)
    .executeTakeFirst()
  const known = before?.version ?? 0
  if (options.version !== undefined && options.version !== known) throw fail('setting_changed', { section })
  const version = known + 1
  const json = JSON.stringify(sealSecrets(SECTIONS[section], value, options.vault, contextOf(scope, section)))
  const row = { version, json, updated_at: change.now }
  const written = before
    ? (
        await trx
          .updateTable('settings')
          .set(row)
          .where('scope', '=', scope)
          .where('section', '=', section)
          .where('version', '=', known)
          .executeTakeFirst()
      ).numUpdatedRows > 0n
    : await insertIfAbsent(trx, 'settings', { scope, section, ...row })
  // Two at once, neither of whom saw the other: the second one reads again.
  if (!written) throw fail('setting_changed', { section })
  await change.event({
    name: 'settings.changed',
    subject: section,
    project_ref: scope === PLATFORM || isOfOrganisation(scope) ? null : scope,
    organisation_id: options.organisation_id ?? null,
    before: { version: known },
    after: { version, keys: Object.keys(value) },
  })
  return version
}

/** For answers: secrets are only said to be set. */
export const shownSettings = <S extends Section>(section: S, value: SectionValue<S>): unknown => hideSecrets(SECTIONS[section], value)

/** With its project, physically. */
export async function removeSettings(trx: Transaction<Tables>, scope: string): Promise<void> {
  await trx.deleteFrom('settings').where('scope', '=', scope).execute()
}
