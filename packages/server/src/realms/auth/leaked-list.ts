import { open } from 'node:fs/promises'

/** SHA-1 in upper-case hex → whether it is in the list. */
export type LeakedList = (hash: string) => Promise<boolean>

const HASH_CHARS = 40
/** A line is a hash, mostly with `:` and a count. */
const LINE_BYTES = 128

/**
 * A file of leaked passwords as haveibeenpwned.com gives it out: a SHA-1 in hex a line, sorted. It is searched where it lies (about thirty short
 * reads in forty gigabytes): nothing is held in memory, and no part of a password leaves the machine.
 */
export const leakedList =
  (path: string): LeakedList =>
  async (hash) => {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      const bytes = Buffer.alloc(LINE_BYTES)
      /** The hash of the first whole line that begins at `from` or after it; '' at the end. */
      const lineFrom = async (from: number): Promise<string> => {
        const start = Math.max(0, from - 1)
        const { bytesRead } = await file.read(bytes, 0, LINE_BYTES, start)
        const text = bytes.toString('latin1', 0, bytesRead)
        const at = from === 0 ? 0 : text.indexOf('\n') + 1
        return from !== 0 && at === 0 ? '' : text.slice(at, at + HASH_CHARS).toUpperCase()
      }
      let low = 0
      let high = size
      while (low < high) {
        const middle = Math.floor((low + high) / 2)
        const found = await lineFrom(middle)
        if (found === hash) return true
        if (found.length === HASH_CHARS && found < hash) low = middle + 1
        else high = middle
      }
      return (await lineFrom(low)) === hash
    } finally {
      await file.close()
    }
  }
