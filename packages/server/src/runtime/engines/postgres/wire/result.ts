/** A column of a result: its name and the OID of its type. */
export interface Column {
  readonly name: string
  readonly type: number
}

/** Rows in text form as the server sent them: slices of what was read, decoded only when asked. */
export class Result {
  /** Values row by row, `width` to a row. */
  readonly values: (Buffer | null)[] = []
  /** Columns of a row; 0 while there is none. */
  width = 0
  /** What the command says that it did: rows returned, inserted, updated, deleted; 0 where it counts nothing. */
  affected = 0
  /** Null for commands without rows. */
  columns: readonly Column[] | null = null

  get rows(): number {
    return this.width === 0 ? 0 : this.values.length / this.width
  }

  /** Bytes of one value, UTF-8 text; null for NULL and for what is not there. */
  bytes(row = 0, column = 0): Buffer | null {
    return this.values[row * this.width + column] ?? null
  }

  text(row = 0, column = 0): string | null {
    const value = this.bytes(row, column)
    return value === null ? null : value.toString('utf8')
  }

  /** All rows as objects of texts: for the few callers that need them. */
  objects(): Record<string, string | null>[] {
    const names = this.columns ?? []
    return Array.from({ length: this.rows }, (_, row) => Object.fromEntries(names.map((column, i) => [column.name, this.text(row, i)])))
  }
}

/** Appends the values of a DataRow message to the result. */
export function addRow(result: Result, data: Buffer, start: number): void {
  const width = (data[start]! << 8) | data[start + 1]!
  result.width = width
  let at = start + 2
  for (let i = 0; i < width; i++) {
    const length = (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!
    at += 4
    if (length < 0) result.values.push(null)
    else {
      result.values.push(data.subarray(at, at + length))
      at += length
    }
  }
}

/** The number at the end of a command tag ("INSERT 0 5", "SELECT 20"), whose zero byte lies at `end - 1`; 0 without one. */
export function countOf(data: Buffer, start: number, end: number): number {
  let count = 0
  let scale = 1
  for (let at = end - 2; at >= start; at--) {
    const digit = data[at]! - 0x30
    if (digit < 0 || digit > 9) break
    count += digit * scale
    scale *= 10
  }
  return count
}

/** The columns of a RowDescription message. */
export function columnsOf(data: Buffer, start: number): Column[] {
  const columns: Column[] = []
  let at = start + 2
  for (let left = data.readUInt16BE(start); left > 0; left--) {
    const zero = data.indexOf(0, at)
    columns.push({ name: data.toString('utf8', at, zero), type: data.readUInt32BE(zero + 7) })
    at = zero + 19
  }
  return columns
}
