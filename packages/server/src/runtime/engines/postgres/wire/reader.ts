/** Who is told of the messages of a connection. */
export interface ReaderTarget {
  /** A whole message: its type, and its body in `data[start, end)`. The bytes may be kept: they are never written again. */
  message(type: number, data: Buffer, start: number, end: number): void
  /** Whether a large message is wanted at all, before it is held: what is not is passed over. */
  takes(type: number, size: number): boolean
  /** Whether rows of one column are wanted as pieces, before their last byte has come; asked at each DataRow. */
  wantsPieces(): boolean
  /** Bytes of a row of one column; `first` and `last` mark its ends. Null: the value is null. */
  piece(data: Buffer | null, first: boolean, last: boolean): void
}

/** Bytes from which on a message is asked for before it is held. */
export const LARGE = 1 << 20
const HEADER = 5
const DATA_ROW = 0x44
/** A DataRow's header with the number of its columns and the length of the first. */
const ROW_HEADER = HEADER + 2 + 4

const int32 = (data: Buffer, at: number): number => (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!

/** Cuts the incoming bytes into messages, without a copy except where one straddles two reads. */
export class Reader {
  readonly #target: ReaderTarget
  /** A message whose end has not come: its buffer (header included), and how much of it is filled. */
  #held: Buffer | null = null
  #filled = 0
  /** Fewer bytes than a header. */
  #scrap: Buffer | null = null
  /** Bytes of a row in pieces that have not come, -1 when there is none. */
  #left = -1
  #first = false
  /** Bytes of a message that is passed over, which have not come. */
  #passed = 0

  constructor(target: ReaderTarget) {
    this.#target = target
  }

  feed(chunk: Buffer): void {
    let data = chunk
    if (this.#scrap !== null) {
      data = Buffer.concat([this.#scrap, chunk])
      this.#scrap = null
    }
    let at = this.#pass(data, 0)
    if (this.#held !== null) at = this.#fill(this.#held, data)
    else if (this.#left >= 0) at = this.#continue(data, 0)
    const end = data.length
    while (at < end) {
      const left = end - at
      if (left < HEADER) {
        this.#scrap = data.subarray(at)
        return
      }
      const size = int32(data, at + 1) + 1
      if (data[at] === DATA_ROW && this.#target.wantsPieces()) {
        if (left < ROW_HEADER && left < size) {
          this.#scrap = data.subarray(at)
          return
        }
        if (((data[at + HEADER]! << 8) | data[at + HEADER + 1]!) === 1) {
          at = this.#row(data, at)
          continue
        }
      }
      if (size > LARGE && !this.#target.takes(data[at]!, size)) {
        this.#passed = size
        at = this.#pass(data, at)
        continue
      }
      if (left < size) {
        this.#held = Buffer.allocUnsafeSlow(size)
        this.#filled = data.copy(this.#held, 0, at)
        return
      }
      this.#target.message(data[at]!, data, at + HEADER, at + size)
      at += size
    }
  }

  #pass(data: Buffer, at: number): number {
    const end = Math.min(data.length, at + this.#passed)
    this.#passed -= end - at
    return end
  }

  /** Completes the held message; the offset of what follows it. */
  #fill(held: Buffer, data: Buffer): number {
    const copied = data.copy(held, this.#filled)
    this.#filled += copied
    if (this.#filled < held.length) return data.length
    this.#held = null
    this.#target.message(held[0]!, held, HEADER, held.length)
    return copied
  }

  /** Begins a row of one column in pieces. */
  #row(data: Buffer, at: number): number {
    const length = int32(data, at + HEADER + 2)
    if (length < 0) {
      this.#target.piece(null, true, true)
      return at + ROW_HEADER
    }
    this.#left = length
    this.#first = true
    return this.#continue(data, at + ROW_HEADER)
  }

  #continue(data: Buffer, at: number): number {
    const end = Math.min(data.length, at + this.#left)
    this.#left -= end - at
    const last = this.#left === 0
    if (end > at || last) this.#target.piece(data.subarray(at, end), this.#first, last)
    if (end > at) this.#first = false
    if (last) this.#left = -1
    return end
  }
}
