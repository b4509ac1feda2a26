interface Place {
  running: number
  readonly waiting: (() => void)[]
}

export type Enter = (key: string, left: () => number) => Promise<() => void>

/**
 * Attempts whose failure uses up a budget, of which no more may be under way at once than are left: else many at the same time would all
 * begin before the first has failed. Who comes beyond waits; `left` says how many may still fail, and throws where none may. What is
 * answered is called at the end of the attempt.
 */
export function makeAttempts(): Enter {
  const places = new Map<string, Place>()

  function leave(key: string, place: Place): void {
    if (--place.running === 0) places.delete(key)
    for (const wake of place.waiting.splice(0)) wake()
  }

  return async (key, left) => {
    for (;;) {
      const free = left()
      const place = places.get(key) ?? { running: 0, waiting: [] }
      if (place.running < free) {
        places.set(key, place)
        place.running++
        return () => leave(key, place)
      }
      await new Promise<void>((wake) => place.waiting.push(wake))
    }
  }
}
