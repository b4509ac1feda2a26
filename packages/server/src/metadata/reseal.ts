import { SECTIONS, type Section } from '@sovrabase/contract/settings'
import type { Kysely } from 'kysely'
import type { Vault } from '../base/crypto.ts'
import { fail, isSovraError } from '../base/errors.ts'
import type { Queue } from '../base/jobs.ts'
import type { Log } from '../base/log.ts'
import { getFact, setFact } from './facts.ts'
import type { Metadata } from './open.ts'
import { resealSecrets } from './sealed.ts'
import type { Tables } from './tables.ts'

/** The root key that everything stored can be opened with. */
export const ROOT_KEY = 'root_key.id'

interface Place {
  readonly table: keyof Tables & string
  /** Its context in the vault is the table's name and these, apart by slashes. */
  readonly key: readonly string[]
  readonly column: string
}

/** Columns that hold one sealed text. Settings and facts hold theirs within JSON. */
const PLACES: readonly Place[] = [
  { table: 'api_keys', key: ['id'], column: 'secret' },
  { table: 'realm_keys', key: ['realm', 'kid'], column: 'secret' },
  { table: 'service_secrets', key: ['service_id', 'name'], column: 'secret' },
  { table: 'idempotent_answers', key: ['actor', 'key'], column: 'body' },
]

const PAGE = 50
/** The job whose key is the id of the root key to seal with. */
export const RESEAL = 'reseal'

export interface Resealed {
  readonly sealed: number
  /** Could not be opened with any key at hand. */
  readonly failed: number
}

type Row = Readonly<Record<string, string>>
/** Names of tables and columns come from PLACES; the type of all of them at once says nothing. */
type AnyTables = Record<string, Record<string, string>>

/** Undefined: it cannot be opened. */
function tryReseal(work: () => string, log: Log, place: string): string | undefined {
  try {
    return work()
  } catch (error) {
    if (!isSovraError(error)) throw error
    log.error({ err: error, place }, 'a stored secret could not be opened')
    return undefined
  }
}

interface Walk {
  /** The next rows still sealed by a former key, in a fixed order, without the first `skip`. */
  read(skip: number): Promise<readonly Row[]>
  /** The row's new text; throws where it cannot be opened. */
  fresh(row: Row): string
  /** Only where it still is as it was read. */
  write(row: Row, text: string): Promise<void>
  readonly name: string
}

/** Page by page, each write for itself: a stop half-way loses nothing and no reader waits. */
async function walk({ read, fresh, write, name }: Walk, log: Log, signal?: AbortSignal): Promise<Resealed> {
  let sealed = 0
  let failed = 0
  while (!signal?.aborted) {
    const rows = await read(failed)
    for (const row of rows) {
      const text = tryReseal(() => fresh(row), log, name)
      if (text === undefined) failed++
      else {
        await write(row, text)
        sealed++
      }
    }
    if (rows.length === 0) break
  }
  return { sealed, failed }
}

function columnWalk(metadata: Metadata, vault: Vault, { table, key, column }: Place): Walk {
  const db = metadata.kysely as unknown as Kysely<AnyTables>
  return {
    name: table,
    async read(skip) {
      let query = db
        .selectFrom(table)
        .select([...key, column])
        .where(column, 'like', 'v1.%')
        .where(column, 'not like', `v1.${vault.keyId}.%`)
      for (const name of key) query = query.orderBy(name)
      return (await query.limit(PAGE).offset(skip).execute()) as Row[]
    },
    fresh(row) {
      const context = [table, ...key.map((name) => row[name])].join('/')
      return vault.seal(vault.open(row[column]!, context), context)
    },
    async write(row, text) {
      let query = db
        .updateTable(table)
        .set({ [column]: text })
        .where(column, '=', row[column]!)
      for (const name of key) query = query.where(name, '=', row[name]!)
      await query.execute()
    },
  }
}

function settingsWalk({ kysely }: Metadata, vault: Vault): Walk {
  return {
    name: 'settings',
    read: async (skip) =>
      await kysely
        .selectFrom('settings')
        .select(['scope', 'section', 'json'])
        .where('json', 'like', '%"$sealed":"v1.%')
        .orderBy('scope')
        .orderBy('section')
        .execute()
        .then((rows) => rows.filter(({ json }) => sealedByOthers(json, vault)).slice(skip, skip + PAGE)),
    fresh: ({ scope = '', section = '', json = '' }) =>
      JSON.stringify(resealSecrets(SECTIONS[section as Section], JSON.parse(json), vault, `settings/${scope}/${section}`)),
    async write({ scope = '', section = '', json = '' }, text) {
      const row = kysely.updateTable('settings').set({ json: text }).where('scope', '=', scope).where('section', '=', section)
      await row.where('json', '=', json).execute()
    },
  }
}

const sealedByOthers = (json: string, vault: Vault): boolean =>
  [...json.matchAll(/"\$sealed":"(v1\.[^"]*)"/g)].some(([, text]) => !vault.isCurrent(text!))

function factsWalk({ kysely }: Metadata, vault: Vault): Walk {
  return {
    name: 'facts',
    read: async (skip) =>
      await kysely
        .selectFrom('facts')
        .select(['name', 'value'])
        .where('value', 'like', '"v1.%')
        .where('value', 'not like', `"v1.${vault.keyId}.%`)
        .orderBy('name')
        .limit(PAGE)
        .offset(skip)
        .execute(),
    fresh: ({ name = '', value = '' }) =>
      JSON.stringify(vault.seal(vault.open(JSON.parse(value) as string, `facts/${name}`), `facts/${name}`)),
    async write({ name = '', value = '' }, text) {
      await kysely.updateTable('facts').set({ value: text }).where('name', '=', name).where('value', '=', value).execute()
    },
  }
}

/** Seals everything stored with the current root key that a former one had sealed. May be broken off and run by several at once. */
export async function reseal(metadata: Metadata, vault: Vault, log: Log, signal?: AbortSignal): Promise<Resealed> {
  const walks = [...PLACES.map((place) => columnWalk(metadata, vault, place)), settingsWalk(metadata, vault), factsWalk(metadata, vault)]
  const sum = { sealed: 0, failed: 0 }
  for (const each of walks) {
    const { sealed, failed } = await walk(each, log, signal)
    sum.sealed += sealed
    sum.failed += failed
  }
  return sum
}

/**
 * After a start with another current root key than the one on record: seals in the background, then records the new one. Until then a start
 * without the former key is refused.
 */
export async function startResealing(metadata: Metadata, queue: Queue, vault: Vault, log: Log): Promise<void> {
  queue.handle(RESEAL, {
    concurrency: 1,
    async run(job, signal) {
      // Another node's key: that node, or this one with that key, does it.
      if (job.key !== vault.keyId) throw fail('secret_key_unknown', { context: 'root key', key_id: job.key })
      const { sealed, failed } = await reseal(metadata, vault, log, signal)
      if (signal.aborted) return { again_at: 0 }
      if (failed > 0) {
        log.error({ sealed, failed, key_id: vault.keyId }, 'some stored secrets could not be opened: keep every former root key')
        return undefined
      }
      await metadata.transaction((trx) => setFact(trx, ROOT_KEY, vault.keyId))
      log.warn({ sealed, key_id: vault.keyId }, 'all stored secrets are sealed with the new root key: the former one may be removed')
      return undefined
    },
  })
  if ((await getFact<string>(metadata.kysely, ROOT_KEY)) === vault.keyId) return
  await metadata.transaction((trx) => queue.enqueue(trx, { kind: RESEAL, key: vault.keyId }))
}
