import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { getCACertificates } from 'node:tls'
import type { Attributes, Logger } from '@opentelemetry/api'

/** OpenTelemetry's severity numbers. */
const SEVERITY: Readonly<Record<string, number>> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 }
/** Lines that wait for the library, or for a collector that does not answer; what is more is lost here, not in the files. */
const QUEUE = 8192
const BATCH = 512
/** ms between two batches, and for one of them. */
const DELAY = 1_000
const PATIENCE = 10_000
/** ms that a stop waits for a collector that does not answer. */
const LAST_WAIT = 5_000

export interface OtlpOptions {
  /** Where logs go, such as http://127.0.0.1:4318/v1/logs. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Further certificate authorities, PEM. */
  readonly caFile: string | null
  readonly version: string
  /** Called when the collector stops taking lines, and when it takes them again. */
  readonly onChange: (state: 'failing' | 'well', error?: unknown) => void
}

export interface LogExport {
  /** A line of JSON. */
  write(line: string): void
  /** Sends what waits, for a while. */
  close(): Promise<void>
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** `name=value,name=value`, values percent-encoded where need be: as OTEL_EXPORTER_OTLP_HEADERS. */
export function headersOf(text: string | null): Record<string, string> {
  const pairs = (text ?? '').split(',').map((pair) => [pair.slice(0, pair.indexOf('=')).trim(), pair.slice(pair.indexOf('=') + 1).trim()])
  return Object.fromEntries(pairs.filter(([name]) => name).map(([name, value = '']) => [name, decoded(value)]))
}

function addError(attributes: Attributes, error: Record<string, unknown>): void {
  for (const [field, name] of [
    ['type', 'exception.type'],
    ['code', 'exception.code'],
    ['message', 'exception.message'],
    ['stack', 'exception.stacktrace'],
  ] as const)
    if (typeof error[field] === 'string') attributes[name] = error[field]
}

/** A line of the log as a record; undefined: it is none. */
export function recordOf(line: string) {
  let fields: Record<string, unknown>
  try {
    fields = JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
  const { level, time, msg, err, ...more } = fields
  const attributes: Attributes = {}
  for (const [name, value] of Object.entries(more)) {
    const plain = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    attributes[name] = plain ? value : JSON.stringify(value)
  }
  if (typeof err === 'object' && err !== null) addError(attributes, err as Record<string, unknown>)
  return {
    timestamp: new Date(String(time)),
    severityNumber: SEVERITY[String(level)] ?? 0,
    severityText: String(level).toUpperCase(),
    body: String(msg),
    attributes,
  }
}

async function open(options: OtlpOptions) {
  const [{ BatchLogRecordProcessor, LoggerProvider }, { OTLPLogExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/sdk-logs'),
    import('@opentelemetry/exporter-logs-otlp-http'),
    import('@opentelemetry/resources'),
  ])
  const ca = options.caFile === null ? {} : { ca: [...getCACertificates('default'), readFileSync(options.caFile, 'utf8')] }
  const exporter = new OTLPLogExporter({ url: options.url, headers: { ...options.headers }, timeoutMillis: PATIENCE, httpAgentOptions: ca })
  let failing = false
  const watched = {
    export: (...[records, done]: Parameters<typeof exporter.export>) =>
      exporter.export(records, (result) => {
        const failed = result.code !== 0
        if (failed !== failing) options.onChange(failed ? 'failing' : 'well', result.error)
        failing = failed
        done(result)
      }),
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  }
  return new LoggerProvider({
    resource: resourceFromAttributes({ 'service.name': 'sovrabase', 'service.version': options.version, 'host.name': hostname() }),
    processors: [
      new BatchLogRecordProcessor({
        exporter: watched,
        maxQueueSize: QUEUE,
        maxExportBatchSize: BATCH,
        scheduledDelayMillis: DELAY,
        exportTimeoutMillis: PATIENCE,
      }),
    ],
  })
}

/** Sends the log to an OpenTelemetry collector. The library is large: it is loaded beside the start, and lines wait for it. */
export function exportLogs(options: OtlpOptions): LogExport {
  let early: string[] = []
  let logger: Logger | undefined
  const emit = (line: string) => {
    const record = recordOf(line)
    if (record) logger?.emit(record)
  }
  const opening = open(options)
  opening.then(
    (provider) => {
      logger = provider.getLogger('sovrabase')
      for (const line of early) emit(line)
      early = []
    },
    (error: unknown) => options.onChange('failing', error),
  )
  return {
    write(line) {
      if (logger) emit(line)
      else if (early.length < QUEUE) early.push(line)
    },
    async close() {
      const stop = new AbortController()
      const sending = opening.then((provider) => provider.shutdown()).catch(() => undefined)
      await Promise.race([sending, pause(LAST_WAIT, undefined, { signal: stop.signal }).catch(() => undefined)])
      stop.abort()
    },
  }
}
