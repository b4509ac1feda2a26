import type { Kysely, Transaction } from 'kysely'
import { fail } from '../../base/errors.ts'
import type { Tables } from '../../metadata/tables.ts'
import { organisationById, quotasOf } from './store.ts'

/** Most that the projects of an organisation may have; sizes in MiB of one project, 0: no limit. */
export interface Limits {
  readonly projects: number
  readonly memory: number
  readonly disk: number
  readonly connections: number
}

/** What each service of a project is held against. */
const OF_A_SERVICE = ['memory', 'disk', 'connections'] as const

/** An organisation's own limits above the installation's; `not_found`. */
export async function limitsOf(db: Kysely<Tables> | Transaction<Tables>, id: string, installation: Limits): Promise<Limits> {
  const row = await organisationById(db, id)
  if (!row) throw fail('not_found')
  return { ...installation, ...quotasOf(row) }
}

type Sizes = Readonly<Record<string, unknown>>

/** Defaults of the installation, where an organisation has less. */
export function lowered(defaults: object | undefined, limits: Limits): object {
  const given = { ...defaults } as Sizes
  const lower = OF_A_SERVICE.filter((what) => limits[what] > 0 && over(given[what], limits[what]))
  return { ...given, ...Object.fromEntries(lower.map((what) => [what, limits[what]])) }
}

/** A spec that says 0 wants no limit at all. */
const over = (wanted: unknown, limit: number): boolean => typeof wanted === 'number' && (wanted === 0 || wanted > limit)

/** `over_organisation_limit` */
export function refuseOver(spec: unknown, limits: Limits): void {
  for (const what of OF_A_SERVICE)
    if (limits[what] > 0 && over((spec as Sizes)[what], limits[what])) throw fail('over_organisation_limit', { what, limit: limits[what] })
}
