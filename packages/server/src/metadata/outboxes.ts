import type { Kysely } from 'kysely'
import type { Change } from './change.ts'
import { removeFact, setFact } from './facts.ts'
import type { Tables } from './tables.ts'

/** What is known of a project's outbox without waking it: a small fact for each in which something waits. */
export interface Waiting {
  readonly ref: string
  readonly waiting: number
  /** null: nobody takes it, since no server is set. */
  readonly due: number | null
}

const PREFIX = 'outbox/'

/** Part of a transaction. 0 waiting: nothing is kept. */
export const noteOutbox = ({ trx }: Pick<Change, 'trx'>, { ref, waiting, due }: Waiting): Promise<void> =>
  waiting === 0 ? removeFact(trx, PREFIX + ref) : setFact(trx, PREFIX + ref, { waiting, due })

/** Of projects that live. */
export async function waitingOutboxes(db: Kysely<Tables>, organisation?: string): Promise<Waiting[]> {
  const facts = await db.selectFrom('facts').select(['name', 'value']).where('name', '>=', PREFIX).where('name', '<', 'outbox0').execute()
  if (facts.length === 0) return []
  const query = db.selectFrom('projects').select('ref').where('state', '=', 'active')
  const rows = await (organisation === undefined ? query : query.where('organisation_id', '=', organisation)).execute()
  const living = new Set(rows.map(({ ref }) => ref))
  return facts
    .map(({ name, value }) => ({ ref: name.slice(PREFIX.length), ...(JSON.parse(value) as Omit<Waiting, 'ref'>) }))
    .filter(({ ref }) => living.has(ref))
}
