const MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const KIB = 1024
const BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: KIB,
  MiB: KIB ** 2,
  GiB: KIB ** 3,
  TiB: KIB ** 4,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
}

export const DURATION_PATTERN = '^(\\d+(\\.\\d+)?(ms|s|m|h|d))+$'
export const SIZE_PATTERN = '^\\d+(\\.\\d+)? ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$'
const DURATION = new RegExp(DURATION_PATTERN)
const SIZE = new RegExp(SIZE_PATTERN)

/** '1h30m' → ms; undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined
  let ms = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) ms += Number(amount) * (MS[unit ?? ''] ?? 0)
  return Math.round(ms)
}

/** '10MiB' → bytes; undefined when it is no size. */
export function parseBytes(text: string): number | undefined {
  const parts = SIZE.test(text) ? /^([\d.]+) ?(\w+)$/.exec(text) : null
  return parts ? Math.round(Number(parts[1]) * (BYTES[parts[2] ?? ''] ?? 0)) : undefined
}

/** ms → '1h30m', exactly. */
export function formatDuration(ms: number): string {
  let rest = ms
  let text = ''
  for (const [unit, size] of Object.entries(MS).sort((a, b) => b[1] - a[1])) {
    const amount = Math.floor(rest / size)
    if (amount > 0) text += `${amount}${unit}`
    rest -= amount * size
  }
  return text || '0s'
}

/** Bytes → '1.5 GiB', for people. */
export function formatBytes(bytes: number): string {
  let unit = 'B'
  let amount = bytes
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (amount < KIB) break
    amount /= KIB
    unit = next
  }
  return `${Number(amount.toFixed(amount < 10 ? 1 : 0))} ${unit}`
}
