/**
 * Patterns of the redirect list, as those who know the dialect write them: `*` and `?` are what a part between `.` and `/` may be made of,
 * `**` is anything, `[a-z]` and `[!a-z]` one character, `{a,b}` one of several, `\\` makes the next character plain.
 *
 * Owners of projects write them and strangers send what they are held against, so they are no regular expressions of the language, which
 * go back and try again: all ways through a pattern are followed at once (Thompson 1968), each character is looked at once.
 */
type Is = (char: string) => boolean
type Step =
  | { readonly kind: 'one' | 'many'; readonly is: Is }
  /** Goes on at each of these places. */
  | { readonly kind: 'fork'; readonly to: number[] }

const IPV6 = /^\[[\da-f:.]+\]/
const CLASS = /^\[(!?)((?:\\.|[^\\\]])+)\]/s

const any: Is = () => true
const within: Is = (char) => char !== '.' && char !== '/'
const plain =
  (one: string): Is =>
  (char) =>
    char === one

/** One character of a range as a regular expression, which has nothing to go back to. Throws where the range runs backwards. */
function classOf(negated: string, inside: string): Is {
  const listed = inside.replace(/\\(.)|([\\\]^[])/gs, (_, escaped: string | undefined, other: string) => `\\${escaped ?? other}`)
  const expression = new RegExp(`[${negated ? '^' : ''}${listed}]`, 'is')
  return (char) => expression.test(char)
}

interface Read {
  readonly steps: readonly Step[]
  readonly length: number
}

const one = (is: Is, length: number): Read => ({ steps: [{ kind: 'one', is }], length })
const text = (given: string, length = given.length): Read => ({
  steps: given.split('').map((char) => ({ kind: 'one', is: plain(char) })),
  length,
})

/** What stands at the begin of `rest`; `before`: what was read already. */
function nextOf(rest: string, before: string): Read {
  const [first = ''] = rest.split('', 1)
  if (rest.startsWith('**')) return { steps: [{ kind: 'many', is: any }], length: 2 }
  if (first === '*') return { steps: [{ kind: 'many', is: within }], length: 1 }
  if (first === '?') return one(within, 1)
  if (first === '\\' && rest.length > 1) return text(rest.charAt(1), 2)
  if (first === '[') {
    const [address] = (before.endsWith('//') && IPV6.exec(rest)) || []
    if (address !== undefined) return text(address)
    const [all, negated = '', inside = ''] = CLASS.exec(rest) ?? []
    if (all !== undefined) return one(classOf(negated, inside), all.length)
  }
  return text(first)
}

/** The steps of a pattern; whoever comes out behind the last has read all of it. */
function stepsOf(pattern: string): Step[] {
  const steps: Step[] = []
  /** Of each brace that is open: where it chooses, and where its ends go on once it is closed. */
  const open: { readonly choice: number[]; readonly ends: number[][] }[] = []
  const fork = (...to: number[]): number[] => {
    steps.push({ kind: 'fork', to })
    return to
  }
  const close = () => {
    for (const end of open.pop()?.ends ?? []) end.push(steps.length)
  }
  const closes = pattern.includes('}')
  for (let at = 0; at < pattern.length; ) {
    const [char, inner] = [pattern[at], open.at(-1)]
    if (char === '{' && closes) open.push({ choice: fork(steps.length + 1), ends: [] })
    else if (char === ',' && inner) {
      inner.ends.push(fork())
      inner.choice.push(steps.length)
    } else if (char === '}' && inner) close()
    else {
      const read = nextOf(pattern.slice(at), pattern.slice(0, at))
      steps.push(...read.steps)
      at += read.length
      continue
    }
    at += 1
  }
  while (open.length > 0) close()
  return steps
}

/** Adds a place and all that are reached from it without a character. */
function reach(steps: readonly Step[], into: Set<number>, place: number): void {
  if (into.has(place)) return
  into.add(place)
  const step = steps[place]
  if (step?.kind === 'many') reach(steps, into, place + 1)
  else if (step?.kind === 'fork') for (const next of step.to) reach(steps, into, next)
}

/** How many places may be looked at for one question, over all of its patterns; then the answer is no. */
export interface Effort {
  left: number
}

function matches(steps: readonly Step[], given: string, effort: Effort): boolean {
  let places = new Set<number>()
  reach(steps, places, 0)
  for (let at = 0; at < given.length && places.size > 0; at += 1) {
    effort.left -= places.size
    if (effort.left < 0) return false
    const [char, next] = [given.charAt(at), new Set<number>()]
    for (const place of places) {
      const step = steps[place]
      if (!step || step.kind === 'fork' || !step.is(char)) continue
      reach(steps, next, step.kind === 'many' ? place : place + 1)
    }
    places = next
  }
  return places.has(steps.length)
}

function compile(pattern: string): readonly Step[] {
  try {
    return stepsOf(pattern)
  } catch {
    // A range that runs backwards: then it is a text like any other.
    return text(pattern).steps
  }
}

export interface Glob {
  test(given: string, effort: Effort): boolean
}

const known = new Map<string, Glob>()
const KNOWN_MAX = 1000

/** Upper and lower case are the same. */
export function globOf(pattern: string): Glob {
  const before = known.get(pattern)
  if (before) return before
  const steps = compile(pattern.toLowerCase())
  const glob: Glob = { test: (given, effort) => matches(steps, given.toLowerCase(), effort) }
  if (known.size >= KNOWN_MAX) known.clear()
  known.set(pattern, glob)
  return glob
}
