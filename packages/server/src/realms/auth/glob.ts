/**
 * Patterns of the redirect list, as those who know the dialect write them: `*` and `?` are what a part between `.` and `/` may be made of,
 * `**` is anything, `[a-z]` and `[!a-z]` one character, `{a,b}` one of several, `\\` makes the next character plain.
 */
const ESCAPED = /[\\^$.|+*?()[\]{}/-]/g
const plain = (text: string): string => text.replace(ESCAPED, '\\$&')
const IPV6 = /^\[[\da-f:.]+\]/i
const CLASS = /^\[(!?)((?:\\.|[^\\\]])+)\]/

function classOf(negated: string, inside: string): string {
  const listed = inside.replace(/\\(.)|([\\\]^[])/g, (_, escaped: string | undefined, other: string) => `\\${escaped ?? other}`)
  return `[${negated ? '^' : ''}${listed}]`
}

interface Read {
  readonly source: string
  readonly length: number
}

/** What stands at the begin of `rest`; `before`: what was read already. */
function nextOf(rest: string, before: string): Read {
  const [first = ''] = rest
  if (rest.startsWith('**')) return { source: '.*', length: 2 }
  if (first === '*') return { source: '[^./]*', length: 1 }
  if (first === '?') return { source: '[^./]', length: 1 }
  if (first === '\\' && rest.length > 1) return { source: plain(rest[1]!), length: 2 }
  if (first === '[') {
    const [address] = (before.endsWith('//') && IPV6.exec(rest)) || []
    if (address !== undefined) return { source: plain(address), length: address.length }
    const [all, negated = '', inside = ''] = CLASS.exec(rest) ?? []
    if (all !== undefined) return { source: classOf(negated, inside), length: all.length }
  }
  return { source: plain(first), length: first.length }
}

/** The regular expression of a pattern, without its ends. */
function sourceOf(pattern: string): string {
  let [source, open] = ['', 0]
  const closes = pattern.includes('}')
  for (let at = 0; at < pattern.length; ) {
    const char = pattern[at]!
    if (char === '{' && closes) [source, open, at] = [`${source}(?:`, open + 1, at + 1]
    else if (char === ',' && open > 0) [source, at] = [`${source}|`, at + 1]
    else if (char === '}' && open > 0) [source, open, at] = [`${source})`, open - 1, at + 1]
    else {
      const read = nextOf(pattern.slice(at), pattern.slice(0, at))
      source += read.source
      at += read.length
    }
  }
  return source + ')'.repeat(open)
}

const known = new Map<string, RegExp>()
const KNOWN_MAX = 1000

export function globOf(pattern: string): RegExp {
  const before = known.get(pattern)
  if (before) return before
  let expression: RegExp
  try {
    expression = new RegExp(`^${sourceOf(pattern)}$`, 'is')
  } catch {
    // A range that runs backwards: then it is a text like any other.
    expression = new RegExp(`^${plain(pattern)}$`, 'i')
  }
  if (known.size >= KNOWN_MAX) known.clear()
  known.set(pattern, expression)
  return expression
}
