import { Type } from 'typebox'
import { fail, isSovraError } from '../../../base/errors.ts'
import type { Driver, Endpoint, Observed, ServiceId, Template, Workload } from '../../driver.ts'
import type { Hands } from './hands.ts'
import { packInto, unpackFrom } from './tars.ts'

/** The driver of this node's own processes, with what it can beyond the plug interface. */
export interface EmbeddedDriver extends Driver {
  readonly limits: 'cgroup2' | 'cgroup1' | 'rlimit'
  template(template: Template): Promise<void>
  /** Renames a stopped volume: a prepared one becomes a project's. */
  move(from: string, to: string): Promise<void>
  /** The last bytes of the service's log. */
  log(volume: string, bytes: number): Promise<string>
}

/** Which volume is whose, of what this process has started. */
class Names {
  readonly #volumes = new Map<ServiceId, string>()
  readonly #ids = new Map<string, ServiceId>()

  volumeOf(id: ServiceId): string | undefined {
    return this.#volumes.get(id)
  }

  idOf(volume: string): ServiceId | undefined {
    return this.#ids.get(volume)
  }

  volumes(): Iterable<string> {
    return this.#volumes.values()
  }

  set(id: ServiceId, volume: string): void {
    this.#volumes.set(id, volume)
    this.#ids.set(volume, id)
  }

  forget(id: ServiceId): void {
    const volume = this.#volumes.get(id)
    this.#volumes.delete(id)
    if (volume !== undefined) this.#ids.delete(volume)
  }
}

async function start(hands: Hands, workload: Workload): Promise<Endpoint> {
  const { id, volume } = workload
  const order = {
    volume,
    command: workload.command,
    versions: workload.versions ?? null,
    environment: workload.environment,
    files: workload.files,
    pidFile: workload.pidFile ?? null,
    stop: workload.stop,
    memory: workload.limits.memory,
  }
  // Nearly always it is there: an order less in each wake.
  const started = await hands.start(order).catch(async (error: unknown) => {
    if (!isSovraError(error, 'volume_missing')) throw error
    await hands.make(volume, workload.template ?? null)
    return await hands.start(order)
  })
  return { service: id, host: started.runtime, port: portOf(workload.socket), pid: started.pid, run: started.run }
}

async function observe(hands: Hands, volume: string, options: Parameters<Driver['inspect']>[2]): Promise<Observed> {
  const { exists, pid, crashed } = await hands.state(volume)
  if (!exists) return { state: 'absent' }
  const state = pid !== null ? 'awake' : crashed ? 'crashed' : 'asleep'
  const disk = options?.disk ? await hands.disk(volume) : undefined
  const memory = options?.memory ? await hands.memory(volume) : undefined
  return {
    state,
    ...(pid === null ? {} : { pid }),
    ...(disk === undefined ? {} : { disk }),
    ...(memory === undefined ? {} : { memory }),
  }
}

/**
 * Runs workloads as processes of this machine: each with a volume below `<data>/projects`, a uid of its own where the keeper can give one, a
 * socket in a short runtime directory, limits. Knows ids; the hands know volumes only.
 */
export function embeddedDriver(hands: Hands): EmbeddedDriver {
  const names = new Names()
  const listeners: Parameters<Driver['onExit']>[0][] = []
  hands.onExit((volume, detail, run) => {
    const id = names.idOf(volume)
    if (id !== undefined) for (const listener of listeners) listener(id, detail, run)
  })

  async function apply(workload: Workload): Promise<Endpoint> {
    const { id, volume } = workload
    const former = names.volumeOf(id)
    if (former !== undefined && former !== volume) await hands.stop(former)
    names.set(id, volume)
    return start(hands, workload)
  }

  return {
    name: 'embedded',
    options: Type.Object({}, { additionalProperties: false }),
    isolation: hands.facts.isolation,
    limits: hands.facts.limits,
    apply,

    async sleep(id) {
      const volume = names.volumeOf(id)
      if (volume !== undefined) await hands.stop(volume)
    },

    async remove(id, volume) {
      await hands.remove(volume)
      names.forget(id)
    },

    copy: (from, to) => hands.copy(from, to),
    volumes: () => hands.volumes(),
    move: (from, to) => hands.move(from, to),
    log: (volume, bytes) => hands.log(volume, bytes),
    usage: async (volume) => ((await hands.state(volume)).exists ? hands.usage(volume) : undefined),

    inspect: (_id, volume, options) => observe(hands, volume, options),
    pack: (volume) => packInto(hands, volume),
    unpack: (volume, tar) => unpackFrom(hands, volume, tar),

    refit: {
      stage: (from, to, files) => hands.stage(from, to, files),
      run: (volume, { command, environment, input }) => hands.init(volume, command, environment, input),
      unfold: (volume, inner) => hands.unfold(volume, inner),
    },

    onExit: (listener) => void listeners.push(listener),

    template: templateBuilder(hands, apply, (id) => names.forget(id)),

    async close() {
      await Promise.allSettled([...names.volumes()].map((volume) => hands.stop(volume)))
      await hands.close()
    },
  }
}

/** `.s.PGSQL.5432` → 5432; a port of its own otherwise. */
function portOf(socket: string): number {
  const digits = /(\d+)$/.exec(socket)?.[1]
  if (digits === undefined) throw fail('internal', {}, { cause: `no port in socket ${socket}` })
  return Number(digits)
}

/** Builds a template in a volume of its own; many callers share one build, a failed or killed one is begun anew. */
function templateBuilder(hands: Hands, apply: (workload: Workload) => Promise<Endpoint>, forget: (id: ServiceId) => void) {
  const builds = new Map<string, Promise<void>>()

  async function build(template: Template): Promise<void> {
    if ((await hands.templates()).includes(template.name)) return
    const volume = `build-${template.name}`
    const id = `build/${template.name}`
    try {
      await hands.remove(volume)
      await hands.make(volume, null)
      await hands.init(volume, template.init, template.environment)
      await template.fill(await apply(template.workload(id, volume)))
      await hands.stop(volume)
      await hands.promote(volume, template.name)
    } finally {
      await hands.remove(volume)
      forget(id)
    }
  }

  return (template: Template): Promise<void> => {
    const running = builds.get(template.name)
    if (running) return running
    const building = build(template).finally(() => builds.delete(template.name))
    builds.set(template.name, building)
    return building
  }
}
