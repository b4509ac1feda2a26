import { fail, type SovraError } from '../base/errors.ts'

export interface CapacityOptions {
  /** Most services awake at once on this node; 0: no limit. */
  readonly maxAwake: number
  /** True while the node has too little memory for one more. */
  readonly short: () => boolean
  /** ms that one waits for a place. */
  readonly patience: number
  /** Puts the service that has been idle longest to sleep; false when all are busy. */
  readonly makeRoom: () => Promise<boolean>
  /** ms between two looks for room while somebody waits: memory and statements of links end without a word. */
  readonly every?: number
}

interface Waiting {
  readonly admit: () => void
  readonly refuse: (error: SovraError) => void
}

const EVERY = 250

export const nodeBusy = () => fail('node_busy', {}, { headers: { 'retry-after': '2' } })
export const nodeClosing = () => fail('node_closing', {}, { headers: { 'retry-after': '1' } })

/**
 * Places for awake services. At the limit the one idle longest is put to sleep first; only when all are busy does a wake wait, in order, and
 * then get `node_busy` (503 with Retry-After). Every place taken, by `tryTake()` or `take()`, is given back by one `free()`.
 */
export class Capacity {
  readonly #options: CapacityOptions
  readonly #waiting: Waiting[] = []
  #taken = 0
  #looking = false
  #timer: NodeJS.Timeout | null = null
  #closed = false

  constructor(options: CapacityOptions) {
    this.#options = options
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** One is let in whatever memory is left: a node that runs nothing at all helps nobody. */
  get #fits(): boolean {
    const { maxAwake, short } = this.#options
    return (maxAwake === 0 || this.#taken < maxAwake) && (this.#taken === 0 || !short())
  }

  /** A place at once, or none. Who waits already is not overtaken. */
  tryTake(): boolean {
    if (this.#closed || this.#waiting.length > 0 || !this.#fits) return false
    this.#taken++
    return true
  }

  /** Resolves when there is a place. Rejects with `node_busy` past the patience, with `node_closing`. */
  take(): Promise<void> {
    if (this.#closed) return Promise.reject(nodeClosing())
    if (this.tryTake()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const end = (how: () => void) => {
        clearTimeout(timer)
        const at = this.#waiting.indexOf(one)
        if (at >= 0) this.#waiting.splice(at, 1)
        how()
      }
      const one: Waiting = { admit: () => end(resolve), refuse: (error) => end(() => reject(error)) }
      const timer = setTimeout(() => one.refuse(nodeBusy()), this.#options.patience)
      this.#waiting.push(one)
      this.look()
    })
  }

  /** A place given back goes to who waits longest; the number of taken ones then stays as it is. */
  free(): void {
    const [next] = this.#waiting
    if (next) next.admit()
    else this.#taken--
  }

  /** Tries to make room for who waits: called when a service has just become idle. */
  look(): void {
    if (this.#looking || this.#waiting.length === 0) return
    this.#looking = true
    void this.#makeRoom()
      .catch(() => {})
      .finally(() => {
        this.#looking = false
        this.#later()
      })
  }

  async #makeRoom(): Promise<void> {
    while (this.#waiting.length > 0) {
      if (this.#fits) {
        this.#taken++
        this.#waiting[0]?.admit()
      } else if (!(await this.#options.makeRoom())) return
    }
  }

  #later(): void {
    if (this.#timer || this.#waiting.length === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.look()
    }, this.#options.every ?? EVERY)
  }

  /** Nobody gets a place any more. */
  close(): void {
    this.#closed = true
    if (this.#timer) clearTimeout(this.#timer)
    for (const one of [...this.#waiting]) one.refuse(nodeClosing())
  }
}
