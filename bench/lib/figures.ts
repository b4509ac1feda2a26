/** Medians, percentiles and the lines that a bench prints. */

export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** Nearest rank; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

let missed = 0

/** One bar: what was measured, beside the most that it may be. Remembered for `closing`. */
export function bar(name: string, value: number, most: number, unit = '×'): void {
  const held = value <= most
  if (!held) missed++
  const text = (number: number) => (unit === '×' ? `${number.toFixed(2)} ×` : `${number.toFixed(number < 10 ? 2 : 0)} ${unit}`)
  console.log(`  ${held ? 'PASS' : 'OVER'}  ${name}: ${text(value)} (bar ${unit === '×' ? `${most} ×` : `${most} ${unit}`})`)
}

export function closing(): void {
  console.log(
    missed === 0 ? 'All bars held.' : `${missed} bar${missed === 1 ? '' : 's'} missed. The machine's load counts: repeat on a quiet one.`,
  )
}

export const ms = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`
