import type { ErrorBody } from '@sovrabase/contract/common'
import { CliError, LANGUAGE, stop } from '../terminal/errors.ts'
import { LOCAL, readServers } from './servers.ts'

/** ms for one answer: a wake may be queued. */
const PATIENCE = 130_000
const PAGE = 200

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface Asked {
  readonly body?: unknown
  readonly query?: Query
  readonly headers?: Readonly<Record<string, string>>
  /** Instead of `body`: sent as it comes. */
  readonly upload?: { readonly type: string; readonly stream: AsyncIterable<Buffer> }
}

/** The control API of one server. */
export interface Client {
  readonly name: string
  readonly url: string
  /** Path below /v1. Rejects with the server's error, `server_unreachable` or `not_signed_in`. */
  request<T = undefined>(method: string, path: string, asked?: Asked): Promise<T>
  /** As `request`, but the answer as it comes, for as long as it takes. */
  stream(method: string, path: string, asked?: Asked): Promise<Response>
  /** `Date` of its answers, ms; NaN: it says none. */
  clock(): Promise<number>
  /** Every page of a list. */
  all<T>(path: string, query?: Query): Promise<T[]>
}

export interface Target {
  readonly name: string
  readonly url: string
  readonly token: string | null
  /** Where it is not the usual one. */
  readonly fetch?: typeof fetch
}

const isEnvelope = (body: unknown): body is ErrorBody =>
  typeof body === 'object' && body !== null && 'code' in body && 'message' in body && typeof body.message === 'string'

function reasonOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `no answer within ${PATIENCE / 1000} s`
  const cause = error instanceof Error ? error.cause : undefined
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message
  return cause instanceof Error ? cause.message : String(error)
}

async function send(target: Target, method: string, url: URL, { body, headers = {}, upload }: Asked, patience = true): Promise<Response> {
  try {
    return await (target.fetch ?? fetch)(url, {
      method,
      redirect: 'error',
      ...(patience ? { signal: AbortSignal.timeout(PATIENCE) } : {}),
      headers: {
        accept: 'application/json',
        'accept-language': LANGUAGE,
        ...(target.token === null ? {} : { authorization: `Bearer ${target.token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(upload ? { 'content-type': upload.type } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(upload ? { body: upload.stream as never, duplex: 'half' as const } : {}),
    })
  } catch (error) {
    throw stop('server_unreachable', { url: target.url, reason: reasonOf(error) }, { cause: error })
  }
}

async function read(target: Target, response: Response): Promise<unknown> {
  const text = await response.text()
  let body: unknown
  try {
    body = text === '' ? undefined : JSON.parse(text)
  } catch {
    throw stop('server_unreachable', { url: target.url, reason: `status ${response.status} and no JSON: is this Sovrabase?` })
  }
  if (response.ok) return body
  if (!isEnvelope(body)) throw stop('server_unreachable', { url: target.url, reason: `status ${response.status}: is this Sovrabase?` })
  if (body.code === 'unauthenticated') throw stop('not_signed_in', { server: target.name, url: target.url })
  const { code, message, hint, details, request_id } = body
  throw new CliError(
    { code, message, ...(hint ? { hint } : {}), ...(details === undefined ? {} : { details }), request_id },
    response.status,
  )
}

export function makeClient(target: Target): Client {
  const base = target.url.replace(/\/+$/, '')
  function urlOf(path: string, query: Query = {}): URL {
    const url = new URL(`${base}/v1${path}`)
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value))
    return url
  }
  async function request<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    return (await read(target, await send(target, method, urlOf(path, asked.query), asked))) as T
  }
  return {
    name: target.name,
    url: base,
    request,
    async stream(method, path, asked = {}) {
      const response = await send(target, method, urlOf(path, asked.query), asked, false)
      if (!response.ok) await read(target, response)
      return response
    },
    async clock() {
      const response = await send(target, 'GET', new URL(`${base}/health`), {})
      await response.body?.cancel()
      return Date.parse(response.headers.get('date') ?? '')
    },
    async all<T>(path: string, query: Query = {}) {
      const found: T[] = []
      let cursor: string | undefined
      do {
        const page = await request<{ items: T[]; next_cursor: string | null }>('GET', path, { query: { ...query, limit: PAGE, cursor } })
        found.push(...page.items)
        cursor = page.next_cursor ?? undefined
      } while (cursor !== undefined)
      return found
    },
  }
}

/**
 * The server that a command talks to: `--server` or SOVRA_SERVER (a name, `local`, or a URL with SOVRA_TOKEN), else the one signed in to
 * last, else the one of this machine.
 */
export async function findTarget(wanted: string | undefined, env: NodeJS.ProcessEnv = process.env): Promise<Target> {
  const { current, servers } = readServers()
  const name = wanted ?? (env.SOVRA_SERVER || undefined) ?? current ?? LOCAL
  if (name === LOCAL) {
    const { localServer } = await import('./local.ts')
    const { url, token, fetch } = await localServer()
    return { name: LOCAL, url, token, fetch }
  }
  const known = Object.hasOwn(servers, name) ? servers[name] : undefined
  if (known) return { name, url: known.url, token: env.SOVRA_TOKEN || known.token }
  if (URL.canParse(name) && /^https?:$/.test(new URL(name).protocol)) return { name, url: name, token: env.SOVRA_TOKEN || null }
  throw stop('server_unknown', { name, known: [LOCAL, ...Object.keys(servers)].join(', ') })
}
