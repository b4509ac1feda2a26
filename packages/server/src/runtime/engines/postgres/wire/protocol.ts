/**
 * The messages that we send in PostgreSQL's extended query protocol, version 3.0
 * (https://www.postgresql.org/docs/18/protocol-message-formats.html), written straight into buffers.
 */
import { fail } from '../../../../base/errors.ts'

/** A parameter: text form for everything but bytes, which travel in binary form (bytea). */
export type Param = string | number | boolean | null | Uint8Array

/** First bytes of the messages that the server sends. */
export const Reply = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notification: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  error: 0x45, // E
  copyIn: 0x47, // G
  copyOut: 0x48, // H
  emptyQuery: 0x49, // I
  notice: 0x4e, // N
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  copyBoth: 0x57, // W
  ready: 0x5a, // Z
  noData: 0x6e, // n
  suspended: 0x73, // s
  parameterDescription: 0x74, // t
} as const

const SLAB = 65_536
/** The protocol counts parameters in 16 bits. */
export const MAX_PARAMETERS = 65_535
/** PostgreSQL refuses a message over 1 GiB; below that, one value may be at most this long. */
export const MAX_MESSAGE_BYTES = 1_000_000_000

/** "No result format codes" (all text), then Execute of the unnamed portal without a row limit. */
const BIND_TAIL = Buffer.from([0, 0, 0x45, 0, 0, 0, 9, 0, 0, 0, 0, 0])
const BIND_TAIL_IN_BIND = 2
const SYNC = Buffer.from([0x53, 0, 0, 0, 4])
export const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4])

/** The constant head of a Bind message for this statement: 'B', room for the length, the unnamed portal, the statement's name. */
export const bindHead = (name: string): Buffer => Buffer.concat([Buffer.from([0x42, 0, 0, 0, 0, 0]), Buffer.from(`${name}\0`)])

/** 16 bytes that ask the server to cancel what runs in the backend of this key. */
export function cancelRequest(pid: number, key: number): Buffer {
  const message = Buffer.alloc(16)
  message.writeInt32BE(16, 0)
  message.writeInt32BE(80_877_102, 4)
  message.writeInt32BE(pid, 8)
  message.writeInt32BE(key | 0, 12)
  return message
}

/** UTF-8 needs at most three bytes for each UTF-16 unit; a long text is measured rather than over-allocated. */
const room = (text: string): number => (text.length > 4_096 ? Buffer.byteLength(text) : text.length * 3)

/**
 * Collects messages until they are taken as a few buffers. The memory of a slab is not written twice before `reuse`, so what was taken may
 * lie in the socket's queue as long as it must.
 */
export class Writer {
  #slab = Buffer.allocUnsafeSlow(SLAB)
  #start = 0
  #at = 0
  #full: Buffer[] | null = null

  /** What was written since the last call, in order; usually one buffer. */
  take(): Buffer[] | Buffer | null {
    const last = this.#at > this.#start ? this.#slab.subarray(this.#start, this.#at) : null
    this.#start = this.#at
    if (this.#full === null) return last
    const all = this.#full
    this.#full = null
    if (last !== null) all.push(last)
    return all
  }

  /** All that was taken has left: its memory is written again, while it is warm. */
  reuse(): void {
    if (this.#at !== this.#start || this.#full !== null) return
    this.#start = 0
    this.#at = 0
  }

  parse(name: string, sql: string): void {
    this.#ensure(16 + name.length + room(sql))
    const start = this.#at
    this.#slab[this.#at++] = 0x50 // P
    this.#at += 4
    this.#at += this.#slab.write(name, this.#at, 'latin1')
    this.#slab[this.#at++] = 0
    this.#at += this.#slab.write(sql, this.#at, 'utf8')
    this.#slab[this.#at++] = 0
    this.#int16(0)
    this.#close(start)
  }

  /** Asks for the columns of a prepared statement. */
  describe(name: string): void {
    this.#named(0x44, name)
  }

  /** Closes a prepared statement: no error when it does not exist. */
  closeStatement(name: string): void {
    this.#named(0x43, name)
  }

  /** Bind to the unnamed portal and Execute it to its end. */
  bindExecute(head: Buffer, params: readonly Param[]): void {
    const count = params.length
    let size = head.length + BIND_TAIL.length + 4 + count * 6
    let binary = false
    for (let i = 0; i < count; i++) {
      const value = params[i]
      if (typeof value === 'string') size += room(value)
      else if (value instanceof Uint8Array) {
        size += value.length
        binary = true
      } else size += 32
    }
    if (size > MAX_MESSAGE_BYTES) throw fail('statement_unsupported', { reason: `its parameters exceed ${MAX_MESSAGE_BYTES} bytes` })
    this.#ensure(size)
    const start = this.#at
    this.#slab.set(head, start)
    this.#at = start + head.length
    if (binary) {
      this.#int16(count)
      for (let i = 0; i < count; i++) this.#int16(params[i] instanceof Uint8Array ? 1 : 0)
    } else this.#int16(0)
    this.#int16(count)
    for (let i = 0; i < count; i++) this.#value(params[i] ?? null)
    this.#slab.set(BIND_TAIL, this.#at)
    this.#at += BIND_TAIL_IN_BIND
    this.#close(start)
    this.#at += BIND_TAIL.length - BIND_TAIL_IN_BIND
  }

  sync(): void {
    this.#ensure(5)
    this.#slab.set(SYNC, this.#at)
    this.#at += 5
  }

  #value(value: Param): void {
    if (value === null) {
      this.#int32(-1)
      return
    }
    const start = this.#at
    this.#at += 4
    if (typeof value === 'string') this.#at += this.#slab.write(value, this.#at, 'utf8')
    else if (value instanceof Uint8Array) {
      this.#slab.set(value, this.#at)
      this.#at += value.length
    } else this.#at += this.#slab.write(String(value), this.#at, 'latin1')
    this.#patch(start, this.#at - start - 4)
  }

  #named(type: number, name: string): void {
    this.#ensure(8 + name.length)
    const start = this.#at
    this.#slab[this.#at++] = type
    this.#at += 4
    this.#slab[this.#at++] = 0x53 // S: a statement, not a portal
    this.#at += this.#slab.write(name, this.#at, 'latin1')
    this.#slab[this.#at++] = 0
    this.#close(start)
  }

  /** Writes the length of the message that began at `start` (it counts itself, not the type byte). */
  #close(start: number): void {
    this.#patch(start + 1, this.#at - start - 1)
  }

  #patch(at: number, value: number): void {
    const slab = this.#slab
    slab[at] = value >>> 24
    slab[at + 1] = value >>> 16
    slab[at + 2] = value >>> 8
    slab[at + 3] = value
  }

  #int16(value: number): void {
    this.#slab[this.#at++] = value >>> 8
    this.#slab[this.#at++] = value
  }

  #int32(value: number): void {
    this.#patch(this.#at, value)
    this.#at += 4
  }

  #ensure(size: number): void {
    if (this.#at + size <= this.#slab.length) return
    if (this.#at > this.#start) {
      this.#full ??= []
      this.#full.push(this.#slab.subarray(this.#start, this.#at))
    }
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB, size))
    this.#start = 0
    this.#at = 0
  }
}
