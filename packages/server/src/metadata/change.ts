import type { EventName } from '@sovrabase/contract/actions'
import type { Transaction } from 'kysely'
import { appendEvent, type Bus } from '../base/events.ts'
import type { NewJob, Queue } from '../base/jobs.ts'
import type { KeepAddress } from '../base/kept-address.ts'
import type { Metadata } from './open.ts'
import type { Tables } from './tables.ts'

/** Who does it. `id`: of the member or token, else the name of the kind. */
export interface Actor {
  readonly id: string
  readonly kind: 'member' | 'token' | 'system' | 'local' | 'setup'
  readonly ip: string | null
  readonly requestId: string | null
}

/** The server itself: sweeps, reconciling, starts. */
export const SYSTEM: Actor = { id: 'system', kind: 'system', ip: null, requestId: null }

/** Holds ids, action and actor; never secrets, nor the data or address of a project's user. */
export interface NewEvent {
  readonly name: EventName
  readonly subject?: string | null
  readonly organisation_id?: string | null
  readonly project_ref?: string | null
  /** JSON values: what was and what is. */
  readonly before?: unknown
  readonly after?: unknown
}

export interface Change {
  readonly trx: Transaction<Tables>
  /** When the change began, ms: one time for all that it writes. */
  readonly now: number
  readonly actor: Actor
  event(event: NewEvent): Promise<void>
  job(job: NewJob): Promise<void>
}

/**
 * The one way to write a wanted state: one transaction with its events and jobs. When the answer comes, listeners of this process have heard the
 * events and the queue is poked. `fn` may run more than once (see Database.transaction), so it changes nothing but the database.
 */
export type Changer = <R>(actor: Actor, fn: (change: Change) => Promise<R>) => Promise<R>

export interface ChangerParts {
  readonly bus: Pick<Bus, 'poke'>
  readonly queue: Pick<Queue, 'enqueue' | 'poke'>
  /** What an event tells of its actor's address. Default: all of it. */
  readonly keepAddress?: KeepAddress
  readonly now?: () => number
}

const json = (value: unknown): string | null => (value === undefined || value === null ? null : JSON.stringify(value))

/** What happens to a project is in its organisation's audit log too. */
async function organisationOf(trx: Transaction<Tables>, ref: string): Promise<string | null> {
  const row = await trx.selectFrom('projects').select('organisation_id').where('ref', '=', ref).executeTakeFirst()
  return row?.organisation_id ?? null
}

export function makeChanger(metadata: Metadata, { bus, queue, keepAddress = (ip) => ip, now: clock = Date.now }: ChangerParts): Changer {
  return async (actor, fn) => {
    let told = { events: 0, jobs: 0 }
    const result = await metadata.transaction(async (trx) => {
      told = { events: 0, jobs: 0 }
      const now = clock()
      return fn({
        trx,
        now,
        actor,
        async event({ name, subject = null, organisation_id, project_ref = null, before, after }) {
          const owner =
            organisation_id === undefined && project_ref !== null ? await organisationOf(trx, project_ref) : (organisation_id ?? null)
          const what = { name, subject, organisation_id: owner, project_ref, before: json(before), after: json(after) }
          const who = { actor: actor.id, actor_kind: actor.kind, ip: keepAddress(actor.ip), request_id: actor.requestId }
          await appendEvent(metadata, trx, { ...what, ...who, created_at: now })
          told.events++
        },
        async job(job) {
          await queue.enqueue(trx, job)
          told.jobs++
        },
      })
    })
    if (told.jobs > 0) queue.poke()
    // Caches of this process are dropped before the caller is answered, so that it reads what it wrote.
    if (told.events > 0) await bus.poke()
    return result
  }
}
