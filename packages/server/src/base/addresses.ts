import { isIPv4, isIPv6 } from 'node:net'
import { fail } from './errors.ts'

/**
 * IP addresses as 16 bytes (IPv4 in its IPv4-mapped form), CIDR ranges over them, and the question that the outbound rule asks:
 * does this address belong to the public internet? Sources: RFC 6890 and IANA's two special-purpose registries.
 */
export interface Range {
  readonly bytes: Uint8Array
  /** Length of the prefix in bits of the 16-byte form. */
  readonly bits: number
}

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

const fromV4 = (four: readonly number[] | Uint8Array): Uint8Array => Uint8Array.from([...MAPPED, ...four])

/** The 16 bytes of an address in its canonical text; null for anything else (decimal, octal and hex forms, zone ids, names). */
export function parseAddress(text: string): Uint8Array | null {
  if (isIPv4(text)) return fromV4(text.split('.').map(Number))
  if (!isIPv6(text) || text.includes('%')) return null
  let rest = text
  const tail: number[] = []
  const dotted = rest.slice(rest.lastIndexOf(':') + 1)
  if (dotted.includes('.')) {
    tail.push(...dotted.split('.').map(Number))
    rest = rest.slice(0, rest.length - dotted.length)
    if (rest.endsWith(':') && !rest.endsWith('::')) rest = rest.slice(0, -1)
  }
  const [left = '', right] = rest.split('::')
  const head = groups(left)
  const end = [...groups(right ?? ''), ...tail]
  if (right === undefined) return Uint8Array.from([...head, ...end])
  return Uint8Array.from([...head, ...Array<number>(16 - head.length - end.length).fill(0), ...end])
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}

/** `10.0.0.0/8`, `fd00::/8` or a single address. Throws `outbound_range_invalid`. */
export function parseRange(text: string): Range {
  const [address = '', length, ...more] = text.trim().split('/')
  const bytes = parseAddress(address)
  const own = isIPv4(address) ? 32 : 128
  const bits = length === undefined ? own : /^\d{1,3}$/.test(length) ? Number(length) : -1
  if (!bytes || more.length > 0 || bits < 0 || bits > own) throw fail('outbound_range_invalid', { range: text })
  return { bytes, bits: 128 - own + bits }
}

export function inRange(address: Uint8Array, range: Range): boolean {
  const whole = range.bits >> 3
  for (let i = 0; i < whole; i++) if (address[i] !== range.bytes[i]) return false
  const rest = range.bits & 7
  if (rest === 0) return true
  const mask = (0xff << (8 - rest)) & 0xff
  return ((address[whole] ?? 0) & mask) === ((range.bytes[whole] ?? 0) & mask)
}

const ranges = (...texts: string[]): Range[] => texts.map(parseRange)

const IPV4 = parseRange('::ffff:0:0/96')
const LOOPBACK = ranges('127.0.0.0/8', '::1')
const UNSPECIFIED = ranges('0.0.0.0/8', '::')
const GLOBAL_V6 = parseRange('2000::/3')
/** Not of the public internet, within IPv4 and within 2000::/3 (everything else of IPv6 is refused as a whole). */
const SPECIAL: readonly (readonly [name: string, ranges: readonly Range[]])[] = [
  ['loopback', LOOPBACK],
  ['unspecified', UNSPECIFIED],
  ['private', ranges('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10')],
  ['link-local', ranges('169.254.0.0/16', 'fe80::/10')],
  ['shared (CGNAT)', ranges('100.64.0.0/10')],
  ['multicast', ranges('224.0.0.0/4', 'ff00::/8')],
  ['documentation', ranges('192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32', '3fff::/20')],
  ['reserved', ranges('192.0.0.0/24', '192.88.99.0/24', '198.18.0.0/15', '240.0.0.0/4', '2001::/23', '64:ff9b:1::/48')],
]

/** Where a form of IPv6 carries an IPv4 address: its range and the offset of the four bytes. */
const CARRIERS: readonly (readonly [range: Range, offset: number])[] = [
  [parseRange('64:ff9b::/96'), 12], // NAT64, RFC 6052
  [parseRange('2002::/16'), 2], // 6to4, RFC 3056
  [parseRange('::ffff:0:0:0/96'), 12], // IPv4-translated, RFC 2765
  [parseRange('::/96'), 12], // IPv4-compatible, RFC 4291
]

/** The IPv4 address that an IPv6 address carries, as 16 bytes; null where it carries none. IPv4-mapped ones are that already. */
export function carried(address: Uint8Array): Uint8Array | null {
  if (LOOPBACK.concat(UNSPECIFIED).some((range) => inRange(address, range))) return null
  for (const [range, offset] of CARRIERS) if (inRange(address, range)) return fromV4(address.subarray(offset, offset + 4))
  return null
}

/** Why an address is not of the public internet ("private", "loopback" …); null where it is. An address that carries another is judged by both. */
export function special(address: Uint8Array): string | null {
  for (const [name, list] of SPECIAL) if (list.some((range) => inRange(address, range))) return name
  const inner = carried(address)
  if (inner) return special(inner)
  return inRange(address, IPV4) || inRange(address, GLOBAL_V6) ? null : 'reserved'
}

export const isLoopback = (address: Uint8Array): boolean => LOOPBACK.some((range) => inRange(address, range))
export const isUnspecified = (address: Uint8Array): boolean => UNSPECIFIED.some((range) => inRange(address, range))
export const sameAddress = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
