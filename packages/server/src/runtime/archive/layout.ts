import { fail } from '../../base/errors.ts'
import { type ObjectStore, readObject } from '../../base/objects/store.ts'
import type { Position } from '../history.ts'

/**
 * What lies in the place of archives:
 *
 *   <ref>/<lineage>/base/<id>.json               a base: BaseRecord, written last
 *   <ref>/<lineage>/base/<id>.tar.zst            its data directory
 *   <ref>/<lineage>/base/<id>.manifest.zst       what a later base builds on
 *   <ref>/<lineage>/log/<timeline>-<position>-<ms>.zst   the log from this position on, first seen at that time
 *
 * A lineage is one history of data without a gap, named by its volume, the incarnation of its server and when it began: what is restored, copied or
 * followed afresh is another one.
 */
export const FORMAT = 'sovrabase-archive'
export const VERSION = 1

export interface BaseRecord {
  readonly format: typeof FORMAT
  readonly version: number
  /** Sorts by time. */
  readonly id: string
  readonly ref: string
  readonly lineage: string
  readonly service: string
  readonly engine: string
  readonly engine_version: string | null
  readonly began_at: number
  /** From here on it can be restored to any moment. */
  readonly ended_at: number
  readonly timeline: number
  /** Positions, hexadecimal. */
  readonly start: string
  readonly stop: string
  readonly segment: number
  /** Of the tar, compressed. */
  readonly size: number
  readonly sha256: string
  /** Bytes of the tar. */
  readonly bytes: number
  /** The base that it says the changes of; null: it is whole. */
  readonly parent: string | null
  readonly manifest: boolean
}

export interface LogObject {
  readonly key: string
  readonly size: number
  readonly timeline: number
  readonly start: Position
  readonly at: number
}

const BASE = 'base/'
const LOG = 'log/'
const LOG_KEY = /^log\/([0-9a-f]{8})-([0-9a-f]{16})-(\d{13})\.zst$/
const ID = /^base\/(\d{13}-[0-9a-f]{16})\.json$/

export const lineageName = (volume: string, incarnation: string, at: number): string =>
  `${volume}-${incarnation}-${String(at).padStart(13, '0')}`
const beganAt = (name: string): number => Number(name.slice(name.lastIndexOf('-') + 1))

/**
 * The lineage of this volume that is followed; null where it begins anew. So it does, too, where another volume of the project was followed here since: it
 * went to a newer major of its engine and came back.
 */
export function followedLineage(names: readonly string[], volume: string, incarnation: string): string | null {
  const here = names.filter((name) => name.includes(`-${incarnation}-`)).toSorted((a, b) => beganAt(a) - beganAt(b))
  const last = here.at(-1)
  return last?.startsWith(`${volume}-${incarnation}-`) ? last : null
}
export const lineageFolder = (ref: string, lineage: string): string => `${ref}/${lineage}`
export const hex = (position: Position): string => position.toString(16).padStart(16, '0')
export const positionOf = (text: string): Position => BigInt(`0x${text}`)
export const baseId = (at: number, start: Position): string => `${String(at).padStart(13, '0')}-${hex(start)}`
export const baseKey = (id: string, part: 'json' | 'tar.zst' | 'manifest.zst'): string => `${BASE}${id}.${part}`
export const logKey = (timeline: number, start: Position, at: number): string =>
  `${LOG}${timeline.toString(16).padStart(8, '0')}-${hex(start)}-${String(at).padStart(13, '0')}.zst`

function parsed(store: ObjectStore, key: string, text: Buffer): BaseRecord {
  let record: BaseRecord
  try {
    record = JSON.parse(text.toString()) as BaseRecord
  } catch (cause) {
    throw fail('archive_damaged', { place: store.place, key, reason: 'it is no JSON' }, { cause })
  }
  if (record.format !== FORMAT) throw fail('archive_foreign', { place: store.place, key, reason: 'it is no base of an archive' })
  if (record.version > VERSION) throw fail('backup_newer', { file: `${store.place}/${key}`, version: record.version, known: VERSION })
  return record
}

/** Bases of a lineage, oldest first. `lineage`: the part of the store. */
export async function basesOf(lineage: ObjectStore): Promise<BaseRecord[]> {
  const bases: BaseRecord[] = []
  for await (const { key } of lineage.list(BASE)) {
    if (!ID.test(key)) continue
    const record = parsed(lineage, key, await readObject(lineage, key))
    // Where it lies says whose it is, and must say the same.
    if (!lineage.place.endsWith(lineageFolder(record.ref, record.lineage)) || key !== baseKey(record.id, 'json'))
      throw fail('archive_foreign', { place: lineage.place, key, reason: `it is of project ${record.ref}` })
    bases.push(record)
  }
  return bases
}

/** The log of a lineage, in its order. */
export async function* logOf(lineage: ObjectStore): AsyncGenerator<LogObject> {
  for await (const { key, size } of lineage.list(LOG)) {
    const [, timeline, start, at] = LOG_KEY.exec(key) ?? []
    if (timeline && start && at) yield { key, size, timeline: Number.parseInt(timeline, 16), start: positionOf(start), at: Number(at) }
  }
}

/** Names of a project's lineages. */
export async function lineageNames(store: ObjectStore, ref: string): Promise<string[]> {
  const names: string[] = []
  for (;;) {
    // One object of each is enough: the next question begins behind all of it.
    const last = names.at(-1)
    const after = last === undefined ? undefined : `${ref}/${last}/zzzz`
    const found = await first(store.list(`${ref}/`, after))
    const name = found?.key.split('/')[1]
    if (name === undefined || name === last) return names
    names.push(name)
  }
}

async function first<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item
  return undefined
}
