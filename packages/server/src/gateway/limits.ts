import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { fail } from '../base/errors.ts'
import { budgetKey } from '../base/proxies.ts'
import { makeRate, type Rate } from '../base/rate.ts'
import type { Connector } from '../runtime/connect.ts'
import type { Hold } from '../runtime/entry.ts'
import { projectOf } from './resolve.ts'

const HOUR = 3_600_000
const SECOND = 1000
/** A limit of n a second lets this many seconds' worth through at once. */
const BURST_SECONDS = 2

interface LimitOptions {
  /** Requests a second to one project on this node; 0: no limit. */
  readonly projectRequests: number
  /** Wakes an hour by keyless requests and public doors, by address. */
  readonly wakes: number
  readonly now: () => number
  /** Told of each refusal, for counters. */
  readonly refused?: (what: 'project_requests' | 'wakes') => void
}

export interface Limits {
  /** Takes one wake from the budget of an address; throws `wake_budget_spent` (429). For doors that are public by nature. */
  spendWake(ip: string): void
  /** onRequest of projects' APIs, after authentication, so that strangers cannot use up a project's rate. */
  readonly hook: ((request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void) | null
  /**
   * A share in a service of the request's project. Who came with a valid key or token wakes it; keyless callers and public routes by the
   * budget of their address. Synchronous where it is awake. Rejects as `Connector.hold`, or with `wake_budget_spent`.
   */
  hold(request: FastifyRequest, connector: Pick<Connector, 'now' | 'hold'>, service: string): Hold | Promise<Hold>
}

const isStranger = (request: FastifyRequest): boolean => request.principal === null || request.principal.kind === 'anon'

export function makeLimits({ projectRequests, wakes, now, refused }: LimitOptions): Limits {
  const budget = makeRate({ amount: wakes, window: HOUR, now })
  const rate: Rate | null =
    projectRequests > 0 ? makeRate({ amount: projectRequests, window: SECOND, burst: projectRequests * BURST_SECONDS, now }) : null

  function spendWake(ip: string): void {
    const taken = budget.take(budgetKey(ip))
    if (taken.ok) return
    refused?.('wakes')
    throw fail('wake_budget_spent', { limit: wakes }, { headers: { 'retry-after': String(taken.retryAfter) } })
  }

  return {
    spendWake,
    hook:
      rate &&
      ((request, _reply, done) => {
        if (request.is404) return done()
        const taken = rate.take(projectOf(request).ref)
        if (taken.ok) return done()
        refused?.('project_requests')
        done(fail('rate_limited', { what: 'to this project' }, { headers: { 'retry-after': String(taken.retryAfter) } }))
      }),
    hold(request, connector, service) {
      const { ref } = projectOf(request)
      const reason = isStranger(request) ? 'keyless request' : 'request'
      const awake = connector.now(ref, service, reason)
      if (awake) return awake
      if (isStranger(request)) spendWake(request.ip)
      return connector.hold(ref, service, reason)
    },
  }
}
