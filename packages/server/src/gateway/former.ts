import { getFact, setFact } from '../metadata/facts.ts'
import type { Metadata } from '../metadata/open.ts'
import { type Addressing, addressOf, type FormerAddress } from './urls.ts'

const FACT = 'addresses'
/** More are forgotten, the oldest first: a token lives for hours, a refresh token is not bound to an issuer. */
const KEPT = 8

const same = (a: FormerAddress, b: FormerAddress): boolean => a.publicUrl === b.publicUrl && a.baseDomain === b.baseDomain

/** Records the address in force and answers those before it, newest first. Once the port is known; several nodes may do so at once. */
export const recordAddress = (metadata: Metadata, addressing: Addressing): Promise<FormerAddress[]> =>
  metadata.transaction(async (trx) => {
    const now = addressOf(addressing)
    const known = (await getFact<FormerAddress[]>(trx, FACT)) ?? []
    const former = known.filter((address) => !same(address, now)).slice(0, KEPT - 1)
    if (known[0] === undefined || !same(known[0], now)) await setFact(trx, FACT, [now, ...former])
    return former
  })
