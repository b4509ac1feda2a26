import type { Log } from '../base/log.ts'
import { type Changer, SYSTEM } from '../metadata/change.ts'
import type { Metadata } from '../metadata/open.ts'
import type { Engine } from './engine.ts'
import { reconcileJob } from './reconcile.ts'
import type { Service, ServiceStore } from './services.ts'

export interface PreparedOptions {
  readonly metadata: Metadata
  readonly change: Changer
  readonly services: ServiceStore
  readonly engine: Engine
  readonly driver: string
  readonly region: string
  readonly node: string
  /** What a project that says nothing of its own asks for. */
  readonly spec: () => unknown
  /** How many stand ready; 0: none. */
  readonly size: number
  readonly log: Log
}

/** A few services that are made before anybody asks: a project that is created claims one, so its first insert need not wait for a copy and a start. */
export function makePrepared(options: PreparedOptions) {
  const { services, metadata, engine, driver, region, node } = options
  let known: unknown
  const spec = (): unknown => (known ??= options.spec())
  let filling: Promise<void> | null = null
  let again = false

  /** Those that a project can still want: not failed, not of an earlier default. */
  const usable = (service: Service): boolean =>
    service.wanted === 'active' &&
    service.status !== 'failed' &&
    service.engine === engine.name &&
    JSON.stringify(service.spec) === JSON.stringify(spec())

  async function drop(service: Service): Promise<void> {
    await options.change(SYSTEM, async (change) => {
      if (await services.dropPrepared(change.trx, service.id)) await change.job(reconcileJob(service))
    })
  }

  async function fill(): Promise<void> {
    const all = await services.list(metadata.kysely, { projects: [''], node })
    const kept = all.filter(usable).slice(0, options.size)
    for (const service of all) if (service.wanted === 'active' && !kept.includes(service)) await drop(service)
    for (let missing = options.size - kept.length; missing > 0; missing--) {
      await options.change(SYSTEM, async (change) => {
        const id = await services.insert(change.trx, { project: '', name: '', engine, driver, region, node, spec: spec() })
        await change.job(reconcileJob({ id, node }))
      })
    }
  }

  async function fillUp(): Promise<void> {
    do {
      again = false
      await fill()
    } while (again)
  }

  return {
    /** Called at start and after each claim; also clears away what is too many, failed or of another default. */
    refill(): void {
      again = true
      filling ??= fillUp()
        .catch((error: unknown) => options.log.warn({ err: error }, 'could not prepare services'))
        .finally(() => {
          filling = null
        })
    },
    async close() {
      again = false
      await filling
    },
  }
}

export type Prepared = ReturnType<typeof makePrepared>
