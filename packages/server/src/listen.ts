import type { Server } from 'node:http'
import type { AddressInfo, ListenOptions } from 'node:net'
import { fail } from './base/errors.ts'
import { type Handle, type Handles, handleName, handleOf } from './base/handles.ts'
import type { Http } from './base/http.ts'
import { nodeHttp } from './base/later.ts'
import type { Metrics } from './base/metrics.ts'

const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String((error as NodeJS.ErrnoException).code))

/** Listens, and says which variable to set where the port is taken or not allowed: `port_busy`, `port_refused`. */
export async function listenApi(app: Http, host: string, port: number, inherited: Handles): Promise<number> {
  try {
    // With a handle that is what it listens on.
    await app.listen({ host, port, ...inherited.take(handleName('api', host, port)) })
  } catch (cause) {
    if (isCode(cause, 'EADDRINUSE')) throw fail('port_busy', { port, host, variable: 'SOVRABASE_API_PORT' }, { cause })
    if (isCode(cause, 'EACCES', 'EADDRNOTAVAIL')) throw fail('port_refused', { port, host, variable: 'SOVRABASE_API_PORT' }, { cause })
    throw cause
  }
  return (app.server.address() as AddressInfo).port
}

export interface AdminOptions {
  readonly host: string
  readonly port: number | 'auto'
  readonly metrics: Metrics
  readonly ready: () => boolean
  /** What is not as it should be, though it serves. */
  readonly warnings: () => readonly string[]
  readonly inherited: Handles
}

export interface AdminListener {
  readonly port: number
  handle(): Handle | null
  close(): Promise<void>
}

const FIRST = 9090
const TRIES = 100

function tryListen(server: Server, where: ListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.removeListener('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
}

/** Metrics and readiness for the operator, on a listener of their own: 9090 or the next free one, unless a port is given. */
export async function listenAdmin({ host, port, metrics, ready, warnings, inherited }: AdminOptions): Promise<AdminListener> {
  const server = nodeHttp().createServer((request, response) => {
    if (request.url === '/metrics')
      return void metrics.render().then(
        ({ type, text }) => response.writeHead(200, { 'content-type': type }).end(text),
        () => response.writeHead(500).end(),
      )
    if (request.url === '/health/ready') {
      const body = ready() ? { status: 'ready', warnings: warnings() } : { status: 'starting' }
      return void response.writeHead(ready() ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    response.writeHead(404).end()
  })
  const former = inherited.take(handleName('admin', host, port))
  const first = port === 'auto' ? FIRST : port
  for (let at = first; ; at++) {
    try {
      const found = await tryListen(server, { host, port: at, ...former } as ListenOptions)
      server.unref()
      return { port: found, handle: () => handleOf(server), close: () => new Promise((done) => server.close(() => done())) }
    } catch (cause) {
      if (!isCode(cause, 'EADDRINUSE') || port !== 'auto' || at >= first + TRIES)
        throw fail('port_busy', { port: at, host, variable: 'SOVRABASE_ADMIN_PORT' }, { cause })
    }
  }
}
