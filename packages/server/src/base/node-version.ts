import { fail } from './errors.ts'

/** Oldest Node that runs the sources as they are (package.json says the same). */
export const OLDEST_NODE = '24.8.0'

const numbers = (version: string): number[] => version.replace(/^v/, '').split('.').map(Number)

/** Refuses an older Node with what to do. Called by main.ts before anything else is loaded. */
export function checkNode(version: string = process.version): void {
  const have = numbers(version)
  const need = numbers(OLDEST_NODE)
  for (let i = 0; i < need.length; i++) {
    const difference = (have[i] ?? 0) - (need[i] ?? 0)
    if (difference > 0) return
    if (difference < 0) throw fail('node_too_old', { version, needed: OLDEST_NODE })
  }
}
