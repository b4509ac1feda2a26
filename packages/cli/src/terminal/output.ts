/** A cell of a table; null is shown as nothing. */
export type Cell = string | number | boolean | null | undefined

const GAP = '  '
// What a terminal would obey instead of showing: control characters, and those that turn the direction of text.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Text of others made harmless for a terminal: control characters as `\n`, `\x1b`. */
export const plain = (text: string): string =>
  text.replace(OBEYED, (found) => {
    const code = found.charCodeAt(0)
    return { 9: '\\t', 10: '\\n', 13: '\\r' }[code] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`)
  })

// Made where it is needed first: it costs a tenth of a start.
let segmenter: Intl.Segmenter | undefined
// East Asian wide and emoji take two columns; what no font shows so is rare enough.
const WIDE = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\uff01-\uff60]/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: the others take one column each
const ASCII = /^[\u0000-\u007f]*$/

/** Columns that a text takes in a terminal. */
export function width(text: string): number {
  if (ASCII.test(text)) return text.length
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' })
  let columns = 0
  for (const { segment } of segmenter.segment(text)) columns += WIDE.test(segment) ? 2 : 1
  return columns
}

/** Columns under their headings, left-aligned; those in `numeric` right-aligned. */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[], numeric: ReadonlySet<number> = new Set()): string {
  const cells = rows.map((row) => headings.map((_, i) => plain(String(row[i] ?? ''))))
  const widths = headings.map((heading, i) => Math.max(width(heading), ...cells.map((row) => width(row[i] ?? ''))))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const fill = ' '.repeat((widths[i] ?? 0) - width(cell))
        return numeric.has(i) ? fill + cell : cell + fill
      })
      .join(GAP)
      .trimEnd()
  return [line(headings), ...cells.map(line)].join('\n')
}

/** `name   value`, one a line; what is null is left out. */
export function pairs(entries: readonly (readonly [name: string, value: Cell])[]): string {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined)
  const widest = Math.max(0, ...shown.map(([name]) => width(name)))
  return shown.map(([name, value]) => `${name}${' '.repeat(widest - width(name))}${GAP}${plain(String(value))}`).join('\n')
}

/** RFC 3339 as local time with its zone: 2026-11-23 09:15:02 GMT+1. */
export function localTime(text: string | null): string | null {
  if (text === null) return null
  const parts = new Intl.DateTimeFormat('en-GB', {
    ...{ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' },
    ...{ hourCycle: 'h23', timeZoneName: 'short' },
  }).formatToParts(new Date(text))
  const of = (type: Intl.DateTimeFormatPartTypes) => parts.find((part) => part.type === type)?.value ?? ''
  return `${of('year')}-${of('month')}-${of('day')} ${of('hour')}:${of('minute')}:${of('second')} ${of('timeZoneName')}`
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** 1536 → 1.5 KiB. */
export function bytes(count: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), UNITS.length - 1)
  const value = count / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`
}

export const json = (data: unknown): string => JSON.stringify(data, null, 2)

export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** Shows that something takes its time, on a terminal only. */
export interface Spinner {
  say(text: string): void
  end(): void
}

export async function spinner(text: string, wanted: boolean): Promise<Spinner> {
  if (!wanted || !process.stderr.isTTY) return { say() {}, end() {} }
  const { default: yocto } = await import('yocto-spinner')
  const running = yocto({ text, stream: process.stderr }).start()
  return {
    say(next) {
      running.text = next
    },
    end() {
      running.stop()
    },
  }
}
