import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { fail } from './errors.ts'
import { later } from './later.ts'

/** By their files: its index loads also the default metrics, and these OpenTelemetry: some 75 modules that nothing here uses. */
const prom = {
  Counter: later<typeof import('prom-client')['Counter']>('prom-client/lib/counter.js'),
  Gauge: later<typeof import('prom-client')['Gauge']>('prom-client/lib/gauge.js'),
  Histogram: later<typeof import('prom-client')['Histogram']>('prom-client/lib/histogram.js'),
  Registry: later<typeof import('prom-client')['Registry']>('prom-client/lib/registry.js'),
}

/** `sovrabase_<area>_<what>_<unit>` */
const NAME = /^sovrabase_[a-z0-9]+(?:_[a-z0-9]+)+$/
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const NANOSECONDS = 1e9
const MICROSECONDS = 1e6

export interface Metrics {
  readonly registry: Registry
  /** Only goes up; its name ends in `_total`. */
  counter<L extends string = never>(name: string, help: string, labels?: readonly L[]): Counter<L>
  /** `collect` reads the value when it is asked for. */
  gauge<L extends string = never>(name: string, help: string, labels?: readonly L[], collect?: (gauge: Gauge<L>) => void): Gauge<L>
  /** Default buckets: seconds from 1 ms to 30 s. Never by project: see conventions, "Metrics". */
  histogram<L extends string = never>(name: string, help: string, labels?: readonly L[], buckets?: readonly number[]): Histogram<L>
  /** The text that Prometheus reads, and its content type. */
  render(): Promise<{ readonly type: string; readonly text: string }>
  close(): void
}

function checked(name: string, rule: boolean): string {
  if (!NAME.test(name) || !rule) throw fail('internal', {}, { cause: `metric name or labels break the rules: ${name}` })
  return name
}

/** This process: CPU, memory, event loop. Read only when asked for. */
function processMetrics(metrics: Pick<Metrics, 'gauge' | 'registry'>): () => void {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  metrics.gauge('sovrabase_process_cpu_seconds', 'CPU time used by the server process, user and system', [], (gauge) => {
    const { user, system } = process.cpuUsage()
    gauge.set((user + system) / MICROSECONDS)
  })
  metrics.gauge('sovrabase_process_memory_bytes', 'Memory of the server process', ['kind'], (gauge) => {
    const use = process.memoryUsage()
    gauge.set({ kind: 'rss' }, use.rss)
    gauge.set({ kind: 'heap' }, use.heapUsed)
    gauge.set({ kind: 'external' }, use.external)
  })
  metrics.gauge('sovrabase_process_loop_delay_seconds', 'Delay of the event loop since the last reading', ['quantile'], (gauge) => {
    for (const quantile of [50, 99]) gauge.set({ quantile: String(quantile / 100) }, delay.percentile(quantile) / NANOSECONDS)
    delay.reset()
  })
  return () => void delay.disable()
}

export function makeMetrics(): Metrics {
  const registry = new prom.Registry()
  const common = (name: string, help: string, labels: readonly string[]) => ({ name, help, labelNames: [...labels], registers: [registry] })
  const metrics = {
    registry,
    counter<L extends string>(name: string, help: string, labels: readonly L[] = []) {
      return new prom.Counter<L>({ ...common(checked(name, name.endsWith('_total')), help, labels), labelNames: [...labels] })
    },
    gauge<L extends string>(name: string, help: string, labels: readonly L[] = [], collect?: (gauge: Gauge<L>) => void) {
      return new prom.Gauge<L>({
        ...common(checked(name, true), help, labels),
        labelNames: [...labels],
        ...(collect && {
          collect() {
            collect(this)
          },
        }),
      })
    },
    histogram<L extends string>(name: string, help: string, labels: readonly L[] = [], buckets: readonly number[] = SECONDS) {
      const byProject = (labels as readonly string[]).includes('project')
      return new prom.Histogram<L>({ ...common(checked(name, !byProject), help, labels), labelNames: [...labels], buckets: [...buckets] })
    },
  }
  const close = processMetrics(metrics)
  return {
    ...metrics,
    close,
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  }
}
