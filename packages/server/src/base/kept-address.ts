import { isIP } from 'node:net'
import { parseAddress } from './addresses.ts'
import type { AddressMode } from './log-levels.ts'
import { plainAddress } from './proxies.ts'

/** What is written down of a caller's address; null: nothing. */
export type KeepAddress = (address: string | null) => string | null

/** Nobody's: it says that the request came from this machine. */
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1)$/

/** The /24 of an IPv4 address, the /48 of an IPv6 one: still an address, so that what is stored as one stays one. */
function truncated(address: string): string | null {
  const plain = plainAddress(address)
  if (LOOPBACK.test(plain)) return plain
  if (isIP(plain) === 4) return `${plain.slice(0, plain.lastIndexOf('.'))}.0`
  const bytes = parseAddress(plain.replace(/%.*$/, ''))
  if (!bytes) return null
  const groups = [0, 2, 4].map((at) => (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16))
  return `${groups.join(':')}::`
}

/**
 * `log.addresses`: the one place that decides how much of an address is kept, in the log, in events, and with sessions and audit entries of
 * every realm. Budgets and the outbound rule go by the whole one, and keep it in memory or hashed.
 */
export function addressKeeper(mode: AddressMode): KeepAddress {
  if (mode === 'absent') return () => null
  return (address) => (address === null ? null : mode === 'whole' ? plainAddress(address) : truncated(address))
}
