import { closeSync, createReadStream, mkdirSync, openSync, readdirSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** What a line must be to be shown. */
export interface LineFilter {
  /** ms since the epoch. */
  readonly since?: number
  /** The least important level. */
  readonly level?: string
  readonly project?: string
  readonly request?: string
}

export interface LogFilesOptions {
  readonly dir: string
  /** Bytes of one file; then, and at a new day, another one is begun. */
  readonly size: number
  /** ms that a finished file is kept. */
  readonly keep: number
  /** Bytes of all finished files together; the oldest goes first. */
  readonly total: number
  readonly now?: () => number
}

/** The log of the server in files: `server.log`, and finished ones named by their last moment. */
export interface LogFiles {
  /** One line or several; an urgent one comes alone. */
  write(text: string): void
  flush(): void
  /** The last `limit` lines that pass, oldest first. */
  read(filter: LineFilter, limit: number): Promise<string[]>
  /** Each line from now on; returns how to end it. */
  follow(listener: (line: string) => void): () => void
  /** Removes finished files that are past their time or too many. Answers the bytes that it freed. */
  sweep(): number
  /** Bytes on disk. */
  bytes(): number
  close(): void
}

const CURRENT = 'server.log'
const FINISHED = /^server-[0-9TZ-]+\.log$/
const BUFFER = 8192
const FLUSH_MS = 250
const HOUR = 3_600_000
const DAY = 24 * HOUR
const LINE_ENDS = /(?<=\n)(?=.)/
const URGENT = /^\{"level":"(?:error|fatal)"/
const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal']

/** Whether a line of JSON passes; one that is no JSON never does. */
export function passes(line: string, filter: LineFilter): boolean {
  // Cheap words first: most lines of a large file are not parsed.
  if (filter.request !== undefined && !line.includes(filter.request)) return false
  if (filter.project !== undefined && !line.includes(filter.project)) return false
  let found: Record<string, unknown>
  try {
    found = JSON.parse(line) as Record<string, unknown>
  } catch {
    return false
  }
  if (filter.request !== undefined && found.request_id !== filter.request) return false
  if (filter.project !== undefined && found.project !== filter.project) return false
  if (filter.level !== undefined && LEVELS.indexOf(String(found.level)) < LEVELS.indexOf(filter.level)) return false
  return filter.since === undefined || Date.parse(String(found.time)) >= filter.since
}

/** A disk that takes nothing is no reason to stop serving: such lines are lost here, not on standard output. */
function attempt<R>(step: () => R, otherwise: R): R {
  try {
    return step()
  } catch {
    return otherwise
  }
}

interface Finished {
  readonly path: string
  readonly size: number
  /** ms of its last line. */
  readonly at: number
}

/** Oldest first. */
const finishedIn = (dir: string): Finished[] =>
  attempt(() => readdirSync(dir), [])
    .filter((name) => FINISHED.test(name))
    .sort()
    .flatMap((name) => {
      const path = join(dir, name)
      const stat = attempt(() => statSync(path), undefined)
      return stat ? [{ path, size: stat.size, at: stat.mtimeMs }] : []
    })

async function linesOf(paths: readonly string[], filter: LineFilter, limit: number): Promise<string[]> {
  let lines: string[] = []
  for (const path of paths) {
    const input = createReadStream(path, 'utf8')
    // One that was swept meanwhile has nothing to say.
    input.on('error', () => input.destroy())
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (!passes(line, filter)) continue
      lines.push(line)
      if (lines.length > limit * 2) lines = lines.slice(-limit)
    }
  }
  return lines.slice(-limit)
}

/** Throws what the file system says where the directory cannot be used. */
export const openLogFiles = (options: LogFilesOptions): LogFiles => new RotatingLog(options)

class RotatingLog implements LogFiles {
  readonly #options: LogFilesOptions
  readonly #now: () => number
  readonly #current: string
  readonly #listeners = new Set<(line: string) => void>()
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #atExit = () => this.flush()
  #waiting: string[] = []
  #length = 0
  #file: number
  #written: number
  #day: number

  constructor(options: LogFilesOptions) {
    const { dir, now = Date.now } = options
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    this.#options = options
    this.#now = now
    this.#current = join(dir, CURRENT)
    this.#file = openSync(this.#current, 'a', 0o600)
    const found = statSync(this.#current)
    this.#written = found.size
    this.#day = Math.floor((found.size === 0 ? now() : found.mtimeMs) / DAY)
    this.#timers = [setInterval(() => this.flush(), FLUSH_MS).unref(), setInterval(() => this.sweep(), HOUR).unref()]
    process.once('exit', this.#atExit)
    this.sweep()
  }

  write(text: string): void {
    this.#waiting.push(text)
    this.#length += text.length
    if (this.#length >= BUFFER || URGENT.test(text)) this.flush()
    if (this.#listeners.size === 0) return
    for (const line of text.split(LINE_ENDS)) for (const listener of this.#listeners) listener(line)
  }

  #rotate(): void {
    const name = `server-${new Date(this.#now()).toISOString().replace(/[:.]/g, '-')}.log`
    attempt(() => {
      renameSync(this.#current, join(this.#options.dir, name))
      const next = openSync(this.#current, 'a', 0o600)
      closeSync(this.#file)
      this.#file = next
    }, undefined)
    this.#written = 0
    this.#day = Math.floor(this.#now() / DAY)
    this.sweep()
  }

  flush(): void {
    if (this.#length === 0) return
    const text = this.#waiting.join('')
    this.#waiting = []
    this.#length = 0
    const full = this.#written >= this.#options.size || Math.floor(this.#now() / DAY) !== this.#day
    if (this.#written > 0 && full) this.#rotate()
    this.#written += attempt(() => writeSync(this.#file, text), 0)
  }

  sweep(): number {
    const { dir, keep, total } = this.#options
    let freed = 0
    const files = finishedIn(dir)
    let all = files.reduce((sum, one) => sum + one.size, 0)
    for (const one of files) {
      if (one.at >= this.#now() - keep && all <= total) continue
      attempt(() => rmSync(one.path, { force: true }), undefined)
      all -= one.size
      freed += one.size
    }
    return freed
  }

  async read(filter: LineFilter, limit: number): Promise<string[]> {
    this.flush()
    const files = finishedIn(this.#options.dir).filter(({ at }) => filter.since === undefined || at >= filter.since)
    return linesOf([...files.map(({ path }) => path), this.#current], filter, limit)
  }

  follow(listener: (line: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  bytes(): number {
    return finishedIn(this.#options.dir).reduce((sum, one) => sum + one.size, this.#written)
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer)
    process.removeListener('exit', this.#atExit)
    this.flush()
    closeSync(this.#file)
    this.#listeners.clear()
  }
}
