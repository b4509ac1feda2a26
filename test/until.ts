/** Polls until `probe` answers something truthy; rejects after `limit` ms with the last error. Never a fixed sleep. */
export async function until<T>(probe: () => T | Promise<T>, limit = 15_000, every = 20): Promise<NonNullable<T>> {
  const end = Date.now() + limit
  let last: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value) return value as NonNullable<T>
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`not reached within ${limit} ms`, { cause: last })
    await new Promise((resolve) => setTimeout(resolve, every))
  }
}
