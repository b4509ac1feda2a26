import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'major'; flavor: 'last-resort' } | { type: 'minor' }) => void

const PERIOD = 10_000
/** Shares of a period that the process computed. */
const IDLE = 0.02
const WORK = 0.05

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

/** Buffers that are done with, where many go through: a millisecond. */
export const collectYoung = () => collect({ type: 'minor' })

/**
 * Says at the end of each period, by the CPU used since the last, when to collect: once after work, in the second idle period, when
 * nobody waits for what that takes (some 100 ms).
 */
export function trimmer(period: number, collect: () => void): (cpu: number) => void {
  let last = 0
  let worked = true
  let idle = 0
  return (cpu) => {
    const share = (cpu - last) / period
    last = cpu
    if (share >= WORK) worked = true
    idle = share < IDLE ? idle + 1 : 0
    if (!worked || idle < 2) return
    worked = false
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
