import { makeOutbound, OUTBOUND_LIMITS, type Outbound, type OutboundOptions } from '../outbound.ts'

/** Large parts take their time, and so does a store that puts one together. */
const LIMITS = { ...OUTBOUND_LIMITS, headers: 120_000, idle: 60_000, connect: 10_000 }

/**
 * Ways to object stores: `outbound` for addresses that a project's people have set, checked as all of theirs; `trusted` for those of the operator, whose
 * store may well stand in the same network.
 */
export function makeStoreOutbounds(options: Pick<OutboundOptions, 'allow' | 'caFile' | 'proxy'>): {
  outbound: Outbound
  trusted: Outbound
} {
  const common = { ...options, ownListeners: () => [], limits: LIMITS }
  return { outbound: makeOutbound(common), trusted: makeOutbound({ ...common, allow: ['0.0.0.0/0', '::/0'] }) }
}
