import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import type { Metrics } from '../base/metrics.ts'
import type { ProjectContext } from './types.ts'

export interface GatewayMetrics {
  /** onResponse */
  hook(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void
  refused(what: 'project_requests' | 'wakes'): void
  /** Drops the series of a project that sleeps or is gone. */
  forget(ref: string): void
}

interface Observer {
  observe(seconds: number): void
}

/** Time by route and class of status; requests by project. No histogram knows of projects. */
export function makeGatewayMetrics(metrics: Metrics): GatewayMetrics {
  const time = metrics.histogram('sovrabase_gateway_request_seconds', 'Time of requests by route and class of status', [
    'method',
    'route',
    'status',
  ])
  const requests = metrics.counter('sovrabase_gateway_project_requests_total', 'Requests to awake projects', ['project'])
  const refusals = metrics.counter('sovrabase_gateway_refusals_total', 'Requests refused by a limit', ['limit'])
  // Found by the route's own config object, so that no label text is built for a request.
  const observers = new WeakMap<object, Observer[]>()
  const counters = new WeakMap<ProjectContext, { inc(): void }>()

  function observer(request: FastifyRequest, status: number): Observer {
    const { config, url } = request.routeOptions
    let known = observers.get(config)
    if (!known) {
      known = []
      observers.set(config, known)
    }
    const family = Math.floor(status / 100)
    known[family] ??= time.labels({ method: request.method, route: url ?? 'none', status: `${family}xx` })
    return known[family]
  }

  return {
    hook(request, reply, done) {
      // Requests of unknown routes share one series.
      if (request.is404) time.observe({ method: 'any', route: 'none', status: '4xx' }, reply.elapsedTime / 1000)
      else observer(request, reply.statusCode).observe(reply.elapsedTime / 1000)
      const { project } = request
      if (project) {
        let counter = counters.get(project)
        if (!counter) {
          counter = requests.labels({ project: project.ref })
          counters.set(project, counter)
        }
        counter.inc()
      }
      done()
    },
    refused: (limit) => refusals.inc({ limit }),
    forget: (ref) => requests.remove(ref),
  }
}
