import { isAbsolute, resolve } from 'node:path'
import type { Key } from './keys.ts'
import { parseBytes, parseDuration } from './units.ts'

/** What is wrong and what to do about it. */
export interface Problem {
  readonly problem: string
  readonly remedy: string
}
export type Read = { readonly value: unknown } | Problem

/** Checks of `format`: undefined when the text is good, else what is wanted ("a host name"). */
export type Formats = Readonly<Record<string, (text: string) => string | undefined>>

export interface ReadOptions {
  readonly formats: Formats
  /** Folder that relative paths count from. */
  readonly folder: string
}

const isProblem = (read: Read): read is Problem => 'problem' in read
const allows = (key: Key, type: string): boolean => (Array.isArray(key.type) ? key.type.includes(type) : key.type === type)
const shown = (key: Key, value: unknown): string => (key['x-secret'] || typeof value === 'object' ? '' : ` (not ${JSON.stringify(value)})`)

function wrong(key: Key, value: unknown, wanted: string, remedy: string): Problem {
  return { problem: `must be ${wanted}${shown(key, value)}`, remedy }
}

function readUnit(key: Key, value: unknown): Read {
  const off = key['x-off']
  if (off !== undefined && (value === 'off' || value === false)) return { value: off }
  const isDuration = key['x-unit'] === 'duration'
  const wanted = `${isDuration ? 'a duration' : 'a size'}${off === undefined ? '' : ' or off'}`
  const example = isDuration ? '30s, 5m, 1h30m or 14d' : '512KiB, 10MiB or 2GiB'
  const parsed = typeof value !== 'string' ? undefined : isDuration ? parseDuration(value) : parseBytes(value)
  if (parsed === undefined)
    return wrong(key, value, wanted, `Write a number with its unit: ${example}${off === undefined ? '' : ', or off'}.`)
  const least = key['x-least']
  if (least !== undefined && parsed < ((isDuration ? parseDuration(least) : parseBytes(least)) ?? 0))
    return wrong(key, value, `${least} at least`, 'Correct the value.')
  return { value: parsed }
}

function readText(key: Key, value: string, options: ReadOptions): Read {
  if (key.enum && !key.enum.includes(value))
    return wrong(key, value, `one of ${key.enum.join(', ')}`, `Write one of: ${key.enum.join(', ')}.`)
  if (key.minLength !== undefined && value.length < key.minLength)
    return { problem: `must have at least ${key.minLength} characters`, remedy: 'Make one with: openssl rand -hex 32' }
  if (key['x-place'] && value.startsWith('s3://')) return { value }
  if (key['x-path']) return { value: isAbsolute(value) ? value : resolve(options.folder, value) }
  const wanted = key.format === undefined ? undefined : options.formats[key.format]?.(value)
  return wanted === undefined ? { value } : wrong(key, value, wanted, 'Correct the value.')
}

function readNumber(key: Key, value: number): Read {
  const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = key
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return { value }
  const range = key.maximum === undefined ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`
  return wrong(key, value, `a whole number ${range}`, 'Correct the number.')
}

function readList(key: Key, value: readonly unknown[], options: ReadOptions): Read {
  const items = (key as { items?: Key }).items
  const values: unknown[] = []
  for (const [i, item] of value.entries()) {
    const read: Read =
      typeof item === 'string' && items ? readText(items, item, options) : wrong(key, item, 'text', 'Put the entry in quotes.')
    if (isProblem(read)) return { problem: `entry ${i + 1} ${read.problem}`, remedy: read.remedy }
    values.push(read.value)
  }
  return { value: values }
}

function mismatch(key: Key, value: unknown): Problem {
  const words = key['x-words']?.map(String) ?? []
  if (allows(key, 'array')) return wrong(key, value, 'a list', 'Write a list: [a, b], or one entry a line after a dash.')
  if (allows(key, 'integer'))
    return wrong(key, value, ['a whole number', ...words].join(' or '), 'Write the number without quotes or unit.')
  if (allows(key, 'boolean')) return wrong(key, value, ['true', 'false', ...words].join(', '), 'Write true or false, without quotes.')
  return wrong(key, value, 'text', 'Put the value in quotes.')
}

/** The value of a key from what a YAML file says. */
export function readKey(key: Key, value: unknown, options: ReadOptions): Read {
  if (key['x-words']?.includes(value as string | boolean)) return { value }
  if (key['x-unit']) return readUnit(key, value)
  if (value === null && allows(key, 'null')) return { value }
  if (typeof value === 'boolean' && allows(key, 'boolean')) return { value }
  if (typeof value === 'number' && allows(key, 'integer')) return readNumber(key, value)
  if (typeof value === 'string' && allows(key, 'string') && !allows(key, 'boolean') && !allows(key, 'integer'))
    return readText(key, value, options)
  if (Array.isArray(value) && allows(key, 'array')) return readList(key, value, options)
  return mismatch(key, value)
}

/** What an environment variable's text would be in YAML, by the key's type: lists are separated by commas. */
export function fromVariable(key: Key, value: string): unknown {
  if (allows(key, 'array')) return value.split(',').flatMap((entry) => entry.trim() || [])
  if (allows(key, 'integer') && /^-?\d+$/.test(value)) return Number(value)
  if (allows(key, 'boolean') && /^(?:true|false)$/i.test(value)) return value.toLowerCase() === 'true'
  return value
}
