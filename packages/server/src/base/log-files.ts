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

/** Throws what the file system says where the directory cannot be used. */
export function openLogFiles({ dir, size, keep, total, now = Date.now }: LogFilesOptions): LogFiles {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const current = join(dir, CURRENT)
  const listeners = new Set<(line: string) => void>()
  let waiting: string[] = []
  let length = 0
  let file = openSync(current, 'a', 0o600)
  const found = statSync(current)
  let written = found.size
  let day = Math.floor((written === 0 ? now() : found.mtimeMs) / DAY)

  const finished = () =>
    attempt(() => readdirSync(dir), [])
      .filter((name) => FINISHED.test(name))
      .sort()
      .flatMap((name) => {
        const path = join(dir, name)
        const stat = attempt(() => statSync(path), undefined)
        return stat ? [{ path, size: stat.size, at: stat.mtimeMs }] : []
      })

  function rotate(): void {
    const name = `server-${new Date(now()).toISOString().replace(/[:.]/g, '-')}.log`
    attempt(() => {
      renameSync(current, join(dir, name))
      const next = openSync(current, 'a', 0o600)
      closeSync(file)
      file = next
    }, undefined)
    written = 0
    day = Math.floor(now() / DAY)
    sweep()
  }

  function flush(): void {
    if (length === 0) return
    const text = waiting.join('')
    waiting = []
    length = 0
    if (written > 0 && (written >= size || Math.floor(now() / DAY) !== day)) rotate()
    written += attempt(() => writeSync(file, text), 0)
  }

  function sweep(): number {
    let freed = 0
    const files = finished()
    let all = files.reduce((sum, one) => sum + one.size, 0)
    for (const one of files) {
      if (one.at >= now() - keep && all <= total) continue
      attempt(() => rmSync(one.path, { force: true }), undefined)
      all -= one.size
      freed += one.size
    }
    return freed
  }

  async function read(filter: LineFilter, limit: number): Promise<string[]> {
    flush()
    let lines: string[] = []
    const paths = finished().filter(({ at }) => filter.since === undefined || at >= filter.since)
    for (const path of [...paths.map((one) => one.path), current]) {
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

  const timer = setInterval(flush, FLUSH_MS)
  const hourly = setInterval(sweep, HOUR)
  timer.unref()
  hourly.unref()
  process.once('exit', flush)
  sweep()
  return {
    write(text) {
      waiting.push(text)
      length += text.length
      if (length >= BUFFER || URGENT.test(text)) flush()
      if (listeners.size === 0) return
      for (const line of text.split(LINE_ENDS)) for (const listener of listeners) listener(line)
    },
    flush,
    read,
    follow(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    sweep,
    bytes: () => finished().reduce((sum, one) => sum + one.size, written),
    close() {
      clearInterval(timer)
      clearInterval(hourly)
      process.removeListener('exit', flush)
      flush()
      closeSync(file)
      listeners.clear()
    },
  }
}
