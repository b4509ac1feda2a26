import { Value } from 'typebox/value'
import type { Log } from '../base/log.ts'
import type { Actor, Changer } from '../metadata/change.ts'
import type { Metadata } from '../metadata/open.ts'
import type { Engine } from './engine.ts'
import { RECONCILE } from './reconcile.ts'
import type { ServiceStore } from './services.ts'

export interface PreparedOptions {
  readonly metadata: Metadata
  readonly change: Changer
  readonly services: ServiceStore
  readonly engine: Engine
  readonly driver: string
  readonly region: string
  readonly node: string
  /** How many stand ready; 0: none. */
  readonly size: number
  readonly log: Log
}

const SYSTEM: Actor = { id: 'system', kind: 'system', ip: null, requestId: null }

/** A few services that are made before anybody asks: a project that is created claims one, so its first insert need not wait for a copy and a start. */
export function makePrepared(options: PreparedOptions) {
  let filling: Promise<void> | null = null

  async function fill(): Promise<void> {
    const { services, metadata, engine, driver, region, node } = options
    // What a project that says nothing of its own will ask for.
    const spec = Value.Default(engine.spec, {})
    const ready = await services.list(metadata.kysely, { projects: [''], node })
    for (let missing = options.size - ready.length; missing > 0; missing--) {
      await options.change(SYSTEM, async (change) => {
        const id = await services.insert(change.trx, { project: '', name: '', engine, driver, region, node, spec })
        await change.job({ kind: RECONCILE, key: id })
      })
    }
  }

  return {
    /** Called at start and after each claim. */
    refill(): void {
      if (options.size === 0) return
      filling ??= fill()
        .catch((error: unknown) => options.log.warn({ err: error }, 'could not prepare services'))
        .finally(() => {
          filling = null
        })
    },
    async close() {
      await filling
    },
  }
}

export type Prepared = ReturnType<typeof makePrepared>
