/** Durations as applications of the dialect write them: `24h`, `1h30m`, `-1.5h`, `300s`, `0`. */
const MS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }
/** What a signed count of nanoseconds in 64 bits holds, some 292 years. */
const MOST = 2 ** 63 / 1e6

/** ms; a text: why it is none, in the words that clients of the dialect know. */
export function goDuration(text: string): number | string {
  const shown = JSON.stringify(text.slice(0, 40))
  const invalid = `time: invalid duration ${shown}`
  const [, sign = '', rest = ''] = /^([+-]?)(.*)$/s.exec(text) ?? []
  if (rest === '0') return 0
  if (rest === '') return invalid
  let ms = 0
  for (let at = 0; at < rest.length; ) {
    const [part = '', number = '', unit = ''] = /^(\d+\.?\d*|\.\d+)([^\d.]*)/.exec(rest.slice(at)) ?? []
    if (part === '') return invalid
    if (unit === '') return `time: missing unit in duration ${shown}`
    const of = Object.hasOwn(MS, unit) ? MS[unit] : undefined
    if (of === undefined) return `time: unknown unit ${JSON.stringify(unit)} in duration ${shown}`
    ms += Number(number) * of
    at += part.length
  }
  if (ms >= MOST) return invalid
  return sign === '-' ? -Math.trunc(ms) : Math.trunc(ms)
}
