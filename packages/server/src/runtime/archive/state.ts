import type { Kysely } from 'kysely'
import { removeFact, setFact } from '../../metadata/facts.ts'
import type { Metadata } from '../../metadata/open.ts'
import type { Tables } from '../../metadata/tables.ts'

/** What is known of a service's archive while nobody follows it: a fact of the metadata. */
export interface ArchiveFact {
  readonly ref: string
  /** False: what it wrote last is in its own log only. */
  readonly whole: boolean
  readonly at: number
  readonly reason: string | null
}

const PREFIX = 'archive.'
const nameOf = (service: string): string => `${PREFIX}${service}`

export async function archiveFacts(db: Kysely<Tables>): Promise<Map<string, ArchiveFact>> {
  const rows = await db.selectFrom('facts').select(['name', 'value']).where('name', 'like', `${PREFIX}%`).execute()
  return new Map(rows.map(({ name, value }) => [name.slice(PREFIX.length), JSON.parse(value) as ArchiveFact]))
}

export const writeArchiveFact = (metadata: Metadata, service: string, fact: ArchiveFact | null): Promise<void> =>
  metadata.transaction((trx) => (fact ? setFact(trx, nameOf(service), fact, fact.at) : removeFact(trx, nameOf(service))))
