import type { PackedTar } from '../base/archive/pour.ts'
import { openTar, type Tar } from '../base/archive/tar-apart.ts'
import { fail } from '../base/errors.ts'
import type { Connector } from './connect.ts'
import type { Driver } from './driver.ts'
import type { Engine } from './engine.ts'
import type { Service } from './services.ts'

export interface Taken<R> {
  /** It ran meanwhile and went on running. */
  readonly awake: boolean
  readonly value: R
}

/** The data of services as tar streams: out of one that runs or sleeps, into a new volume. */
export interface Bases {
  /**
   * One that sleeps is copied as it lies, and callers who want it awake wait for `use`; one that is awake goes on serving. Never wakes any.
   * `volume_missing` where nothing was made yet.
   */
  take<R>(service: Service, use: (tar: Tar) => Promise<R>): Promise<Taken<R>>
  /** The volume of a copy, out of a source that runs and goes on serving; false: it sleeps, or cannot be copied so. */
  copyAwake(from: Service, to: Service): Promise<boolean>
  /** A new volume, whole or not there at all. */
  lay(driver: string, volume: string, tar: PackedTar): Promise<void>
  /** Removes a volume that no service has. */
  drop(driver: string, volume: string): Promise<void>
  /** Names of all volumes. */
  volumes(driver: string): Promise<string[]>
}

export interface BaseParts {
  readonly connector: Connector
  readonly engine: (name: string) => Engine
  readonly driver: (name: string) => Driver
}

export function makeBases({ connector, engine, driver }: BaseParts): Bases {
  const packerOf = (name: string) => {
    const { pack, unpack } = driver(name)
    if (!pack || !unpack) throw fail('backup_unsupported', { name })
    return { pack, unpack }
  }

  async function awake<R>(service: Service, use: (tar: Tar) => Promise<R>): Promise<Taken<R> | undefined> {
    const { base } = engine(service.engine)
    const hold = base && connector.now(service.project, service.name, 'backup')
    if (!base || !hold) return undefined
    try {
      return { awake: true, value: await use(base(hold.endpoint, service)) }
    } finally {
      hold.release()
    }
  }

  return {
    async take(service, use) {
      const { pack } = packerOf(service.driver)
      const cold = async ({ volume }: Service) => use(await pack(volume))
      // An engine that cannot be copied while it runs stands still for it.
      if (!engine(service.engine).base) return { awake: false, value: await connector.still(service.id, cold) }
      for (;;) {
        const running = await awake(service, use)
        if (running) return running
        const asleep = await connector.whileAsleep(service.id, cold)
        if (asleep) return { awake: false, value: asleep.value }
      }
    },
    async copyAwake(from, to) {
      const { unpack } = driver(to.driver)
      if (!unpack) return false
      return (await awake(from, (tar) => unpack(to.volume, openTar(tar)))) !== undefined
    },
    lay: (name, volume, tar) => packerOf(name).unpack(volume, tar),
    drop: (name, volume) => driver(name).remove(`restore/${volume}`, volume),
    volumes: async (name) => (await driver(name).volumes?.()) ?? [],
  }
}
