import { stop } from '../terminal/errors.ts'

const PARALLEL_MAX = 32

/** `--parallel`. */
export function workersOf(given: string): number {
  const workers = Number(given)
  if (!Number.isInteger(workers) || workers < 1 || workers > PARALLEL_MAX)
    throw stop('usage_wrong', {
      reason: `--parallel is 1 to ${PARALLEL_MAX}`,
      hint: 'Each takes a start of PostgreSQL: about one a core.',
    })
  return workers
}

/** So many at once, results in the order of their ends. `done` hears how many there are. */
export async function inParallel<T, R>(
  items: readonly T[],
  workers: number,
  work: (item: T) => Promise<R>,
  done: (n: number) => void,
): Promise<R[]> {
  const results: R[] = []
  const left = items.values()
  const worker = async () => {
    for (const item of left) {
      results.push(await work(item))
      done(results.length)
    }
  }
  await Promise.all(Array.from({ length: workers }, worker))
  return results
}
