import { statfsSync } from 'node:fs'

export interface SpaceOptions {
  /** A directory on the disk. */
  readonly dir: string
  /** Bytes that must stay free; 0: none. */
  readonly reserve: number
  /** Per cent of the disk that the reserve is at most, so that a small disk is no full one. */
  readonly share: number
  readonly now?: () => number
  /** Bytes that an unprivileged process can still write, and of the whole disk. */
  readonly measure?: (dir: string) => { readonly free: number; readonly total: number }
}

export interface SpaceState {
  readonly free: number
  readonly total: number
  /** What must stay free, in force. */
  readonly reserve: number
  /** True: nothing large is taken. */
  readonly low: boolean
}

export interface Space {
  state(): SpaceState
  low(): boolean
}

/** ms that a measurement holds. */
const HOLDS = 1_000
/** Once low, it is well again only with this much above the reserve: at the edge it would change its mind at each request. */
const HEALED = 1.1

function measureDisk(dir: string) {
  const { bavail, blocks, bsize } = statfsSync(dir)
  return { free: bavail * bsize, total: blocks * bsize }
}

/** How much room the disk of the data has; heals by itself. A disk that cannot be measured counts as well. */
export function makeSpace({ dir, reserve, share, now = Date.now, measure = measureDisk }: SpaceOptions): Space {
  let at = Number.NEGATIVE_INFINITY
  let seen: SpaceState = { free: 0, total: 0, reserve: 0, low: false }

  function state(): SpaceState {
    // A clock that was set back must not keep an old measurement for long.
    if (Math.abs(now() - at) < HOLDS) return seen
    at = now()
    try {
      const { free, total } = measure(dir)
      const wanted = Math.min(reserve, (total * share) / 100)
      seen = { free, total, reserve: Math.floor(wanted), low: free < (seen.low ? wanted * HEALED : wanted) }
    } catch {
      seen = { ...seen, low: false }
    }
    return seen
  }
  return { state, low: () => state().low }
}
