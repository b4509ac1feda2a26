import { createRequire } from 'node:module'
import { type DestinationStream, pino } from 'pino'
import { describeError } from './log-errors.ts'
import type { LogLevel } from './log-levels.ts'
import { isSecretName } from './redact.ts'

export type Log = pino.Logger

export interface LogOptions {
  readonly level: LogLevel
  /** Readable lines instead of JSON. `auto`: where the output is a terminal. */
  readonly pretty: boolean | 'auto'
  /** Default: standard output. */
  readonly destination?: DestinationStream
  /** Gets every line too, as JSON; several in one text where they came together. */
  readonly files?: { write(line: string): void }
  /** Gets every line too, to send it elsewhere. */
  readonly sent?: { write(line: string): void }
  /** False: not on standard output. */
  readonly stdout?: boolean
}

// Larger blocks cost more (the writer joins and measures the text again at each line), smaller ones more calls.
const BUFFER_BYTES = 8192
const FLUSH_MS = 250
const REDACTED = '[redacted]'
const ERROR_LEVEL = 50

/** A copy without the values of fields whose names say that they are secret, two levels deep. */
function redacted(fields: Record<string, unknown>, depth = 0): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined
  for (const name in fields) {
    const value = fields[name]
    if (value === undefined || value === null) continue
    let safe: unknown = value
    if (isSecretName(name)) safe = REDACTED
    else if (value instanceof Error) safe = describeError(value)
    else if (depth < 2 && typeof value === 'object' && !Array.isArray(value)) safe = redacted(value as Record<string, unknown>, depth + 1)
    if (safe !== value) {
      copy ??= { ...fields }
      copy[name] = safe
    }
  }
  return copy ?? fields
}

let lastMs = 0
let lastTime = ''

/** RFC 3339 UTC; written once a millisecond. */
function timestamp(): string {
  const now = Date.now()
  if (now !== lastMs) {
    lastMs = now
    lastTime = `,"time":"${new Date(now).toISOString()}"`
  }
  return lastTime
}

type LogArguments = Parameters<pino.LogFn>

/** pino would take an error's own message for a missing one, and that may quote values. */
function worded(args: LogArguments): LogArguments {
  const first: unknown = args[0]
  if (first instanceof Error) return [{ err: first }, (args[1] as string | undefined) ?? 'error'] as unknown as LogArguments
  const silent = args.length === 1 && typeof first === 'object' && first !== null && (first as { err?: unknown }).err !== undefined
  return silent ? ([first, 'error'] as unknown as LogArguments) : args
}

function readable(destination: DestinationStream): DestinationStream {
  // Loaded only where a person reads along: it is large.
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty')
  const colorize = destination === process.stdout && process.env.NO_COLOR === undefined
  const format = prettyFactory({ colorize, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l', singleLine: true })
  return { write: (line) => void destination.write(format(line)) }
}

/** One stream of all that there are. */
function together(...streams: readonly (DestinationStream | undefined)[]): DestinationStream {
  const [first, second, ...more] = streams.filter((stream) => stream !== undefined)
  if (!first) return { write: () => {} }
  if (!second) return first
  const rest = together(second, ...more)
  return {
    write(line) {
      first.write(line)
      rest.write(line)
    },
  }
}

/** A stream to which the lines of requests may go together. */
interface LineStream extends DestinationStream {
  /** A line that may wait for the others of this turn of the event loop. */
  hold(line: string): void
}

/** Writers measure and copy each text that they get: the lines of one turn cost as one text what a single one costs. Order is kept. */
function joining(stream: DestinationStream): LineStream {
  let held = ''
  function release(): void {
    if (held === '') return
    const text = held
    held = ''
    stream.write(text)
  }
  return {
    write(line) {
      release()
      stream.write(line)
    },
    hold(line) {
      if (held === '') setImmediate(release)
      held += line
    },
  }
}

const singly = (stream: DestinationStream): LineStream => ({ write: (line) => stream.write(line), hold: (line) => stream.write(line) })

/**
 * Lines hold level, time, msg and named fields; no values of secrets (by name), no text of errors that quote values (see log-errors.ts).
 * JSON is written in blocks, at once from level error on.
 */
export function makeLog({ level, pretty, destination, files, sent, stdout = true }: LogOptions): Log {
  const terminal = pretty === 'auto' ? destination === undefined && process.stdout.isTTY === true : pretty
  const blocks =
    terminal || destination || !stdout
      ? undefined
      : pino.destination({ fd: 1, sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_MS })
  const out = stdout ? (blocks ?? (terminal ? readable(destination ?? process.stdout) : (destination as DestinationStream))) : undefined
  const all = together(out, files, sent)
  // Who formats lines, or sends them elsewhere, wants one at a time.
  const stream = blocks && !sent ? joining(all) : singly(all)
  const log = pino(
    {
      level,
      base: null,
      timestamp,
      formatters: { level: (label) => ({ level: label }), log: (fields) => redacted(fields) },
      serializers: { err: (line: unknown) => line },
      hooks: {
        logMethod(args: LogArguments, method: pino.LogFn, number: number) {
          method.apply(this, worded(args))
          if (number >= ERROR_LEVEL) blocks?.flush()
        },
      },
    },
    stream,
  )
  streams.set(log, stream)
  return log
}

const streams = new WeakMap<Log, LineStream>()

/**
 * Writes a line of level info whose fields are JSON text already (`"name":1,"other":"text"`, no secrets): for the one line that each request
 * has, at a third of the cost of the general way.
 */
export function writeLine(log: Log, fields: string, message: string): void {
  streams.get(log)?.hold(`{"level":"info"${timestamp()},${fields},"msg":"${message}"}\n`)
}

/** Says nothing: for tests and for parts that were given no log. */
export const silentLog: Log = pino({ level: 'silent', base: null }, { write: () => {} })
