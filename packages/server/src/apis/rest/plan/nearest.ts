/** The candidate that is most like a name, if alike enough (0 … 1): for "Perhaps you meant …". Pure. */
export function nearest(name: string, candidates: Iterable<string>, least: number): string | null {
  let best: string | null = null
  let score = least
  for (const candidate of candidates) {
    const longer = Math.max(name.length, candidate.length)
    // Not worth computing where the lengths alone decide.
    if (longer === 0 || longer > MAX_LENGTH || Math.min(name.length, candidate.length) / longer < score) continue
    const alike = 1 - distance(name.toLowerCase(), candidate.toLowerCase()) / longer
    if (alike > score || (alike === score && best === null)) {
      best = candidate
      score = alike
    }
  }
  return best
}

const MAX_LENGTH = 128

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
