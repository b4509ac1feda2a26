/** A server whose clock jumps: its Date is shifted by what a file says, asked each time. Monotonic time and PostgreSQL's clock go on. */
import { writeFileSync } from 'node:fs'

export const DAY = 86_400_000

const shift = (file: string) => `
import { readFileSync } from 'node:fs'
const Real = Date
const now = () => Real.now() + Number(readFileSync(${JSON.stringify(file)}, 'utf8'))
globalThis.Date = class extends Real {
  constructor(...args) { args.length === 0 ? super(now()) : super(...args) }
  static now() { return now() }
}
`

export interface Clock {
  /** For the server's environment. */
  readonly env: Record<string, string>
  /** ms beside the true time. */
  set(offset: number): void
}

/** `file`: where any uid may read it. */
export function makeClock(file: string): Clock {
  const set = (offset: number) => writeFileSync(file, String(offset), { mode: 0o644 })
  set(0)
  return { env: { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(shift(file))}` }, set }
}
