import type pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Endpoint } from '../../driver.ts'
import type { Service } from '../../services.ts'
import { secretOf } from './connections.ts'
import { ADMIN } from './names.ts'
import { makeParking, signIn, waitUntilReady } from './ready.ts'

/** The one connection of our superuser in a wake: handed from step to step, so that it is opened once. */
export interface SignIns {
  /** Waits until the cluster answers; false where it takes none of our passwords (a copy that still has its source's). */
  ready(at: Endpoint, service: Service): Promise<boolean>
  /** Runs one step on the connection and keeps that for the next step; a failed step closes it. `former`: further passwords to try. */
  step(at: Endpoint, service: Service, fn: (client: pg.Client) => Promise<void>, former?: readonly string[]): Promise<void>
  /** The connection, for good. */
  take(at: Endpoint, service: Service): Promise<pg.Client>
}

/** `bootstrap`: the template's password, which a volume that never ran to its end may still have. */
export function makeSignIns(bootstrap: string): SignIns {
  const parking = makeParking<pg.Client>((client) => client.end())
  const park = (at: Endpoint, client: pg.Client): void => {
    parking.put(at, client)
    client.once('end', () => parking.gone(at, client))
  }
  const passwords = (service: Service): string[] => {
    const own = secretOf(service, ADMIN)
    return service.observedVersion === 0 && !service.source ? [bootstrap, own] : [own, bootstrap]
  }

  async function take(at: Endpoint, service: Service, former: readonly string[] = []): Promise<pg.Client> {
    const parked = parking.take(at)
    if (parked) return parked
    for (const password of [...passwords(service), ...former]) {
      const found = await signIn(at, password)
      if (found) return found
    }
    throw fail('cluster_sign_in_refused')
  }

  return {
    take,
    async ready(at, service) {
      const client = await waitUntilReady(at, passwords(service))
      if (client) park(at, client)
      return client !== undefined
    },
    async step(at, service, fn, former) {
      const client = await take(at, service, former)
      try {
        await fn(client)
        park(at, client)
      } catch (error) {
        await client.end().catch(() => undefined)
        throw error
      }
    },
  }
}
