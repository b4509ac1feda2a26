/** One statement of a text of SQL. */
export interface Statement {
  /** Without the comments before it and the `;` after it. */
  readonly text: string
  /** Where it begins and ends in the whole text. */
  readonly start: number
  readonly end: number
  /** The lines after `COPY … FROM stdin;`, up to `\.`. */
  readonly data?: string
}

const BLANK = /\s+/y
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const COPY = /^copy\b[\s\S]*\bfrom\s+stdin\b/i
const COPY_END = /^\\\.\r?$/m
/** What pg_dump writes for psql alone, and means nothing to the server. */
const RESTRICT = /\\(?:un)?restrict\b[^\n]*/y

function match(pattern: RegExp, sql: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(sql)?.[0] ?? ''
}

const after = (sql: string, needle: string, from: number): number => {
  const found = sql.indexOf(needle, from)
  return found === -1 ? sql.length : found + needle.length
}

/** The end of a comment that begins at `at`, nested ones within; `at` where there is none. */
function pastComment(sql: string, at: number): number {
  if (sql.startsWith('--', at)) return after(sql, '\n', at)
  if (!sql.startsWith('/*', at)) return at
  let depth = 1
  let place = at + 2
  while (depth > 0 && place < sql.length) {
    if (sql.startsWith('/*', place)) depth++
    else if (sql.startsWith('*/', place)) depth--
    else {
      place++
      continue
    }
    place += 2
  }
  return place
}

function pastBlank(sql: string, from: number): number {
  for (let at = from; ; ) {
    const next = pastComment(sql, at + match(BLANK, sql, at).length)
    const skipped = next + match(RESTRICT, sql, next).length
    if (skipped === at) return at
    at = skipped
  }
}

/** `E'…'`, where a backslash takes the next character with it; `at` is its quote. */
function pastEscaped(sql: string, at: number): number {
  for (let place = at + 1; place < sql.length; place++) {
    if (sql[place] === '\\') place++
    else if (sql[place] === "'") return place + 1
  }
  return sql.length
}

/** The end of what is not looked into: comments, strings, quoted names, dollar quotes. A doubled quote is two of them, side by side. */
function pastQuoted(sql: string, at: number): number {
  const char = sql[at]
  if (char === "'" || char === '"') return after(sql, char, at + 1)
  if (char === '$') {
    const tag = match(DOLLAR, sql, at)
    return tag === '' ? at : after(sql, tag, at + tag.length)
  }
  return char === '-' || char === '/' ? pastComment(sql, at) : at
}

/** `create [or replace] function|procedure`: its body may be BEGIN ATOMIC … END, with `;` within (as psql tells them). */
function isRoutine([first, second, third, fourth]: readonly string[]): boolean {
  const kind = second === 'or' && third === 'replace' ? fourth : second
  return first === 'create' && (kind === 'function' || kind === 'procedure')
}

function depthAfter(word: string, depth: number): number {
  if (word === 'begin') return depth + 1
  if (word === 'case') return depth > 0 ? depth + 1 : 0
  return word === 'end' ? Math.max(0, depth - 1) : depth
}

/** The `;` that ends the statement at `start`, or the end of the text. */
function endOf(sql: string, start: number): number {
  const words: string[] = []
  let parens = 0
  let begins = 0
  for (let at = start; at < sql.length; ) {
    const char = sql[at]
    if (char === ';' && parens === 0 && begins === 0) return at
    const past = pastQuoted(sql, at)
    if (past > at) {
      at = past
      continue
    }
    const word = match(WORD, sql, at)
    if (word !== '') {
      at += word.length
      if ((word === 'e' || word === 'E') && sql[at] === "'") at = pastEscaped(sql, at)
      if (parens > 0) continue
      if (words.length < 4) words.push(word.toLowerCase())
      if (isRoutine(words)) begins = depthAfter(word.toLowerCase(), begins)
      continue
    }
    if (char === '(') parens++
    else if (char === ')') parens = Math.max(0, parens - 1)
    at++
  }
  return sql.length
}

function copied(sql: string, end: number): { data: string; next: number } {
  const begin = after(sql, '\n', end)
  const found = COPY_END.exec(sql.slice(begin))
  return found
    ? { data: sql.slice(begin, begin + found.index), next: begin + found.index + found[0].length }
    : { data: sql.slice(begin), next: sql.length }
}

/** Statements in order. Never fails: what is unfinished is the last one, for the server to complain about. */
export function splitStatements(sql: string): Statement[] {
  const found: Statement[] = []
  for (let at = pastBlank(sql, 0); at < sql.length; at = pastBlank(sql, at)) {
    const end = endOf(sql, at)
    const text = sql.slice(at, end).trimEnd()
    if (COPY.test(text)) {
      const { data, next } = copied(sql, end)
      found.push({ text, start: at, end, data })
      at = next
      continue
    }
    if (text !== '') found.push({ text, start: at, end })
    at = end + 1
  }
  return found
}

/** Whether the last statement ends here: a `;` outside quotes and comments. */
export function isComplete(sql: string): boolean {
  const last = splitStatements(sql).at(-1)
  return last !== undefined && sql[last.end] === ';' && pastBlank(sql, last.end + 1) === sql.length
}
