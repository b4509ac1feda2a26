/**
 * The candidate that is most like a name, if alike enough (0 … 1): for "Perhaps you meant …". As the reference does, only candidates that
 * share three characters in a row with the name are compared; only if none of those will do, those that share two. Pure.
 */
export function nearest(name: string, candidates: Iterable<string>, least: number): string | null {
  const all = Iterator.from(candidates).take(MAX_CANDIDATES).toArray()
  return closest(name, all, least, 3) ?? closest(name, all, least, 2)
}

function closest(name: string, candidates: readonly string[], least: number, size: number): string | null {
  const grams = gramsOf(name, size)
  let best: string | null = null
  let score = least
  for (const candidate of candidates) {
    const longer = Math.max(name.length, candidate.length)
    // Not worth computing where the lengths alone decide.
    if (longer === 0 || longer > MAX_LENGTH || Math.min(name.length, candidate.length) / longer < score) continue
    if (grams.isDisjointFrom(gramsOf(candidate, size))) continue
    const alike = 1 - distance(name.toLowerCase(), candidate.toLowerCase()) / longer
    if (alike > score || (alike === score && best === null)) {
      best = candidate
      score = alike
    }
  }
  return best
}

/** Runs of letters and digits; where the name begins and ends counts as one. */
function gramsOf(name: string, size: number): Set<string> {
  const letters = `-${name.toLowerCase().replaceAll(/[^\p{L}\p{N} ,]/gu, '')}-`
  return new Set(Array.from({ length: Math.max(letters.length - size + 1, 1) }, (_, i) => letters.slice(i, i + size)))
}

const MAX_LENGTH = 128
/** Names that are compared: whoever may ask for a name that is not there must not keep everybody waiting. */
const MAX_CANDIDATES = 2_000

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
