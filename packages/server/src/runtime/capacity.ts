import { fail } from '../base/errors.ts'

export interface CapacityOptions {
  /** Most services awake at once on this node; 0: no limit. */
  readonly maxAwake: number
  /** True while the node has too little memory for one more. */
  readonly short: () => boolean
  /** Most callers that wait for a place. */
  readonly maxQueue: number
  /** ms that one waits for a place. */
  readonly patience: number
  /** Puts the service that has been idle longest to sleep; false when all are busy. */
  readonly makeRoom: () => Promise<boolean>
}

/**
 * Places for awake services. At the limit the one idle longest is put to sleep first; only when all are busy do callers wait,
 * in a bounded queue, and then get `node_busy` (503 with Retry-After).
 */
export function makeCapacity(options: CapacityOptions) {
  let taken = 0
  const waiting: (() => void)[] = []

  /** A place given back goes to who waits longest; the number of taken ones then stays as it is. */
  const free = () => {
    const next = waiting.shift()
    if (next) next()
    else taken--
  }

  const refuse = () => fail('node_busy', {}, { headers: { 'retry-after': '2' } })

  function queue(): Promise<void> {
    if (waiting.length >= options.maxQueue) return Promise.reject(refuse())
    return new Promise((resolve, reject) => {
      const taker = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        const at = waiting.indexOf(taker)
        if (at >= 0) waiting.splice(at, 1)
        reject(refuse())
      }, options.patience)
      waiting.push(taker)
      void nudge()
    })
  }

  let nudging = false
  /** Someone waits: try to make room, also when a service has just become idle. */
  async function nudge(): Promise<void> {
    if (nudging) return
    nudging = true
    try {
      while (waiting.length > 0 && (await options.makeRoom()));
    } finally {
      nudging = false
    }
  }

  return {
    /** Resolves when there is a place; it must be given back with `free()`. */
    async take(): Promise<void> {
      const places = options.maxAwake === 0 || taken < options.maxAwake
      if (places && (!options.short() || taken === 0)) {
        taken++
        return
      }
      await queue()
    },
    free,
    nudge,
    get taken() {
      return taken
    },
    get waiting() {
      return waiting.length
    },
  }
}

export type Capacity = ReturnType<typeof makeCapacity>
