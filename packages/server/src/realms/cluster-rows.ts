import type { Result } from '../runtime/engines/postgres/wire/result.ts'
import type { Fields } from './store/fields.ts'
import type { Json } from './store/types.ts'

/** Things read straight from a cluster's answer, by their fields alone: on the ways of every day no row is made on the way to a thing. */

type Entry = readonly [property: string, column: string, kind: string]
const entriesOf = <T>(fields: Fields<T>): readonly Entry[] =>
  Object.entries(fields as Record<string, readonly [string, string]>).map(([property, [column, kind]]) => [property, column, kind])

/** As sessions in UTC write nearly all of them: an exchange reads some fifteen. */
const PLAIN = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00(?::00)?)?$/

/** ms of what PostgreSQL writes: `2026-11-24 03:14:23.12+00`. A time without zone is UTC. */
export function millis(text: string): number {
  const plain = PLAIN.exec(text)
  // Date.UTC takes the first hundred years for those of the last century.
  if (plain !== null && !text.startsWith('00')) {
    const [, year, month, day, hour, minute, second, fraction = ''] = plain
    return Date.UTC(
      Number(year),
      Number(month) - 1,
      Number(day),
      Number(hour),
      Number(minute),
      Number(second),
      Number(fraction.padEnd(3, '0').slice(0, 3)),
    )
  }
  if (text.endsWith('infinity')) return text.startsWith('-') ? -8.64e15 : 8.64e15
  const iso = text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00')
  return Date.parse(/(?:Z|[+-]\d\d:\d\d)$/.test(iso) ? iso : `${iso}Z`)
}

function plainOf(kind: string, text: string | null): unknown {
  if (kind === 'bool') return text === 't'
  if (text === null) return kind === 'json' ? {} : null
  if (kind === 'time') return millis(text)
  if (kind === 'json') return JSON.parse(text) as Json
  return kind === 'number' ? Number(text) : text
}

/** The same in an array of JSON that PostgreSQL made. */
function jsonOf(kind: string, value: unknown): unknown {
  if (kind === 'bool') return value === true
  if (kind === 'json') return value ?? {}
  return kind === 'time' && value !== null ? millis(value as string) : value
}

export interface Shape<T> {
  /** Columns of a table under an alias, for a select. */
  columns(alias: string): string
  readonly width: number
  /** From its first column on. */
  read(result: Result, at: number): T
  /** All rows of `from` as one value. */
  list(from: string, order: string): string
  readList(text: string | null): T[]
}

export function shapeOf<T>(fields: Fields<T>): Shape<T> {
  const entries = entriesOf(fields)
  const columns = (alias: string) => entries.map(([, column]) => `${alias}."${column}"`).join(', ')
  return {
    columns,
    width: entries.length,
    read(result, at) {
      const thing: Record<string, unknown> = {}
      for (let i = 0; i < entries.length; i++) thing[entries[i]![0]] = plainOf(entries[i]![2], result.text(0, at + i))
      return thing as T
    },
    list: (from, order) => `(select json_agg(json_build_array(${columns('x')}) order by ${order}) from ${from})`,
    readList(text) {
      const rows = text === null ? [] : (JSON.parse(text) as unknown[][])
      return rows.map((row) => {
        const thing: Record<string, unknown> = {}
        for (let i = 0; i < entries.length; i++) thing[entries[i]![0]] = jsonOf(entries[i]![2], row[i])
        return thing as T
      })
    },
  }
}
