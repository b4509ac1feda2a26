/** Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`: optimal string alignment. */
export function distance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let edits = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, (before[j - 2] ?? 0) + 1)
      row.push(edits)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}

export interface Near {
  readonly word: string
  readonly distance: number
}

/** The known word that needs the fewest edits; the first of equals; undefined when none is known. */
export function nearest(word: string, known: Iterable<string>): Near | undefined {
  let best: Near | undefined
  for (const candidate of known) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase())
    if (!best || edits < best.distance) best = { word: candidate, distance: edits }
  }
  return best
}
