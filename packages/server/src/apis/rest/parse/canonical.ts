import { recentMap } from '../../../base/cache.ts'

/** What a canonical query string holds as it is. */
const PLAIN = /^[\w.~-]*(?:=[\w.~-]*)?$/
const PLAIN_PAIR = /^[\w.~-]+=[\w.~-]*$/
const KNOWN = 256
const KNOWN_LENGTH = 256
const RESERVED = /[!'()*]/g

const plain = (text: string): string =>
  encodeURIComponent(text).replace(RESERVED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

const ESCAPES = /(?:%[0-9A-Fa-f]{2})+/g

/** A name or value of a query string; what is no escape, or no UTF-8, stays as it is. */
export function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text
  const spaced = text.replaceAll('+', ' ')
  try {
    return decodeURIComponent(spaced)
  } catch {
    return spaced.replace(ESCAPES, decodedOrNot)
  }
}

function decodedOrNot(escapes: string): string {
  try {
    return decodeURIComponent(escapes)
  } catch {
    return escapes
  }
}

/**
 * Clients refuse answers whose headers take more than 16 KiB in all (Node's `fetch`), proxies those of more than 4 KiB (nginx as it comes);
 * a filter by a list of some hundred ids is longer.
 */
const LONGEST = 2_048

/**
 * Content-Location of what was read: the same for two requests that ask for the same with their parameters in another order. null: too long
 * to be said. Pure.
 */
export function contentLocation(name: string, query: string): string | null {
  if (query.length > LONGEST) return null
  const text = canonical(name, query)
  return text.length > LONGEST ? null : text
}

function canonical(name: string, query: string): string {
  const path = `/${encodeURI(name)}`
  if (query === '') return path
  // The usual short request, already as it must be.
  if (PLAIN.test(query)) return `${path}?${query.includes('=') ? query : `${query}=`}`
  const pairs: Pair[] = []
  for (const pair of query.split('&')) if (pair !== '') pairs.push(pairOf(pair))
  pairs.sort(byKey)
  let text = path
  for (let i = 0; i < pairs.length; i++) text += `${i === 0 ? '?' : '&'}${pairs[i]!.text}`
  return text
}

interface Pair {
  readonly key: string
  /** Both as they are written. */
  readonly text: string
}

const byKey = (a: Pair, b: Pair): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)

/** Pairs that need work and come again and again (`select=id,title`) are made once; those with people's values are not kept. */
const known = recentMap<Pair>(KNOWN)

function pairOf(pair: string): Pair {
  if (PLAIN_PAIR.test(pair)) return { key: pair.slice(0, pair.indexOf('=')), text: pair }
  const keeps = pair.length <= KNOWN_LENGTH && (pair.startsWith('select=') || pair.startsWith('order='))
  const before = keeps ? known.get(pair) : undefined
  if (before !== undefined) return before
  const equals = pair.indexOf('=')
  const key = decode(equals < 0 ? pair : pair.slice(0, equals))
  const value = equals < 0 ? '' : decode(pair.slice(equals + 1))
  const made = { key, text: `${plain(key)}=${plain(value)}` }
  // A copy: a part of a text would keep the whole request line.
  if (keeps) known.set(Buffer.from(pair).toString(), made)
  return made
}
