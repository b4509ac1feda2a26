import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'major'; flavor: 'last-resort' } | { type: 'minor' }) => void

const PERIOD = 10_000
/** Share of a period that an idle process computes at most. */
const IDLE = 0.05
/** ms of CPU that leave something worth a collection, which itself takes some 100 to 300. */
const WORK = 3_000

let known: Collect | undefined

/** V8's own collector. */
function collect(options: Parameters<Collect>[0]): void {
  if (known === undefined) {
    setFlagsFromString('--expose-gc')
    known = runInNewContext('gc') as Collect
  }
  known(options)
}

const collectAll = () => collect({ type: 'major', flavor: 'last-resort' })

/**
 * Buffers that are done with, where many go through: a third of a millisecond, since little else is young. In this thread alone: helpers are
 * waited for, and on busy cores that takes up to 40 ms each time, in which nobody is answered.
 */
export function collectYoung(): void {
  setFlagsFromString('--no-parallel-scavenge')
  collect({ type: 'minor' })
  setFlagsFromString('--parallel-scavenge')
}

/**
 * Says at the end of each period, by the CPU used until then, when to collect: after the start or after work, in the second idle period, when
 * nobody waits for what that takes.
 */
export function trimmer(period: number, collect: () => void): (cpu: number) => void {
  let last = 0
  let enough = 0
  let idle = 0
  return (cpu) => {
    idle = (cpu - last) / period < IDLE ? idle + 1 : 0
    last = cpu
    if (cpu < enough || idle < 2) return
    enough = cpu + WORK
    idle = 0
    collect()
  }
}

/** A third of what work took stays until the next collection, and V8 collects only while something is allocated: here it is given back. */
export function trimWhenIdle(): void {
  const look = trimmer(PERIOD, collectAll)
  const cpu = (): number => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  }
  setInterval(() => look(cpu()), PERIOD).unref()
}
