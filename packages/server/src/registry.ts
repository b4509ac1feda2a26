import { fail } from './base/errors.ts'
import type { Driver } from './runtime/driver.ts'
import type { Engine } from './runtime/engine.ts'

/** What a server can run, and where: our own parts and a stranger's are added by the same two calls. */
export function makeRegistry() {
  const engines = new Map<string, Engine>()
  const drivers = new Map<string, Driver>()
  return {
    engines: engines as ReadonlyMap<string, Engine>,
    drivers: drivers as ReadonlyMap<string, Driver>,
    addEngine: (engine: Engine) => void engines.set(engine.name, engine),
    addDriver: (driver: Driver) => void drivers.set(driver.name, driver),
    engine(name: string): Engine {
      const engine = engines.get(name)
      if (!engine) throw fail('engine_unknown', { name, known: [...engines.keys()].join(', ') })
      return engine
    },
    driver(name: string): Driver {
      const driver = drivers.get(name)
      if (!driver) throw fail('driver_unknown', { name, known: [...drivers.keys()].join(', ') })
      return driver
    },
  }
}

export type Registry = ReturnType<typeof makeRegistry>
