import { bindHead } from './protocol.ts'
import type { Column } from './result.ts'

/** A statement prepared on one connection. */
export interface Prepared {
  readonly sql: string
  readonly scope: string
  readonly name: string
  /** Constant start of its Bind message. */
  readonly head: Buffer
  columns: readonly Column[] | null
  /** Dropped from the cache: later uses must parse anew. */
  dropped: boolean
  newer: Prepared | null
  older: Prepared | null
}

/**
 * The prepared statements of one connection by (SQL, scope), where the scope is what their plans depend on: role and search path.
 * One statement under alternating roles would be planned again at each use. The least recently used gives way.
 */
export class StatementCache {
  readonly #limit: number
  readonly #bySql = new Map<string, Map<string, Prepared>>()
  #size = 0
  #counter = 0
  #newest: Prepared | null = null
  #oldest: Prepared | null = null

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#size
  }

  get(sql: string, scope: string): Prepared | null {
    const entry = this.#bySql.get(sql)?.get(scope) ?? null
    if (entry !== null && entry !== this.#newest) {
      this.#unlink(entry)
      this.#link(entry)
    }
    return entry
  }

  /** A new entry, to be parsed by the caller. `evicted` gets what must be closed for it. */
  add(sql: string, scope: string, evicted: Prepared[]): Prepared {
    while (this.#size >= this.#limit && this.#oldest !== null) {
      evicted.push(this.#oldest)
      this.drop(this.#oldest)
    }
    const name = `s${(this.#counter++).toString(36)}`
    const entry: Prepared = { sql, scope, name, head: bindHead(name), columns: null, dropped: false, newer: null, older: null }
    let scopes = this.#bySql.get(sql)
    if (scopes === undefined) {
      scopes = new Map()
      this.#bySql.set(sql, scopes)
    }
    scopes.set(scope, entry)
    this.#link(entry)
    this.#size++
    return entry
  }

  drop(entry: Prepared): void {
    if (entry.dropped) return
    entry.dropped = true
    const scopes = this.#bySql.get(entry.sql)
    scopes?.delete(entry.scope)
    if (scopes?.size === 0) this.#bySql.delete(entry.sql)
    this.#unlink(entry)
    this.#size--
  }

  /** Forgets all; returns what must be closed. */
  clear(): Prepared[] {
    const all: Prepared[] = []
    for (const scopes of this.#bySql.values()) for (const entry of scopes.values()) all.push(entry)
    for (const entry of all) this.drop(entry)
    return all
  }

  #link(entry: Prepared): void {
    entry.older = this.#newest
    entry.newer = null
    if (this.#newest !== null) this.#newest.newer = entry
    this.#newest = entry
    this.#oldest ??= entry
  }

  #unlink(entry: Prepared): void {
    if (entry.newer !== null) entry.newer.older = entry.older
    else this.#newest = entry.older
    if (entry.older !== null) entry.older.newer = entry.newer
    else this.#oldest = entry.newer
  }
}
