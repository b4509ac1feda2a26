import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { inRange, parseAddress, parseRange } from './addresses.ts'

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i
const FORWARDED = [
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-real-ip',
  'forwarded',
] as const
const MAX_HOPS = 32
const KNOWN_PEERS = 1000

/** An IPv4 address as IPv4 also where it came through an IPv6 listener. */
export const plainAddress = (address: string): string => MAPPED.exec(address)?.[1] ?? address

/** Without port and brackets; undefined when it is no address. */
function addressOf(entry: string): string | undefined {
  const text = entry.trim().replace(/^"|"$/g, '')
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? (isIP(text) === 0 ? text.replace(/:\d+$/, '') : text)
  return isIP(bare) > 0 ? plainAddress(bare) : undefined
}

export type Trusted = (address: string | undefined) => boolean

/** Whether an address is one of the proxies in front. */
export function trustedProxies(ranges: readonly string[]): Trusted {
  const parsed = ranges.map(parseRange)
  if (parsed.length === 0) return () => false
  const known = new Map<string, boolean>()
  return (address) => {
    if (!address) return false
    const before = known.get(address)
    if (before !== undefined) return before
    const bytes = parseAddress(plainAddress(address))
    const answer = bytes !== null && parsed.some((range) => inRange(bytes, range))
    if (known.size < KNOWN_PEERS) known.set(address, answer)
    return answer
  }
}

const listOf = (value: string | string[] | undefined): string[] => (value === undefined ? [] : String(value).split(','))

/**
 * The hops that may be believed, nearest first: from the right as long as each is a trusted proxy, and the first that is not, which is the
 * caller. What stands further left was written by the caller and is dropped; so is everything from an entry on that is no address.
 */
function believed(header: string | string[] | undefined, isTrusted: Trusted): string[] {
  const hops: string[] = []
  for (const entry of listOf(header).reverse().slice(0, MAX_HOPS)) {
    const address = addressOf(entry)
    if (address === undefined) break
    hops.push(address)
    if (!isTrusted(address)) break
  }
  return hops
}

function keepLast(headers: IncomingHttpHeaders, name: string, good: RegExp): void {
  const last = listOf(headers[name]).at(-1)?.trim()
  if (last !== undefined && good.test(last)) headers[name] = last
  else delete headers[name]
}

/** Leaves of the X-Forwarded-* headers what a trusted proxy wrote, and nothing when the request comes from elsewhere. */
export function cleanForwarded(request: IncomingMessage, isTrusted: Trusted): void {
  const { headers } = request
  const peerIsTrusted = isTrusted(request.socket.remoteAddress)
  for (const name of FORWARDED) {
    if (headers[name] === undefined) continue
    if (!peerIsTrusted || (name !== 'x-forwarded-for' && name !== 'x-forwarded-host' && name !== 'x-forwarded-proto')) delete headers[name]
  }
  if (!peerIsTrusted) return
  const hops = believed(headers['x-forwarded-for'], isTrusted)
  if (hops.length > 0) headers['x-forwarded-for'] = hops.reverse().join(', ')
  else delete headers['x-forwarded-for']
  keepLast(headers, 'x-forwarded-host', HOST)
  keepLast(headers, 'x-forwarded-proto', /^https?$/)
}

/** What budgets and rates count by: an IPv4 address, or the /64 that one IPv6 caller has to itself. */
export function budgetKey(address: string): string {
  const plain = plainAddress(address)
  const bytes = isIP(plain) === 6 ? parseAddress(plain.replace(/%.*$/, '')) : null
  return bytes ? `${Buffer.from(bytes.subarray(0, 8)).toString('hex')}/64` : plain
}
