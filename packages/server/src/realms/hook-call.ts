import { createHmac } from 'node:crypto'
import type { Hook } from '@sovrabase/contract/auth'
import { fail, isSovraError } from '../base/errors.ts'
import { uuid } from '../base/ids.ts'
import type { Outbound } from '../base/outbound.ts'
import type { Json } from './store/types.ts'

/** Of one call, answer included. */
const PATIENCE = 5_000
const TRIES = 3
const RETRY_AFTER_MAX = 2_000
const PAYLOAD_BYTES = 200 * 1024
const RETRIED = new Set([429, 503])
const REFUSALS = {
  400: 'auth_hook_refused_400',
  401: 'auth_hook_refused_401',
  403: 'auth_hook_refused_403',
  404: 'auth_hook_refused_404',
  409: 'auth_hook_refused_409',
  422: 'auth_hook_refused_422',
  429: 'auth_hook_refused_429',
}

/** `webhook-signature` (standardwebhooks.com): one for each secret. */
function signatures(secrets: string, id: string, timestamp: string, body: string): string {
  return secrets
    .split('|')
    .map((secret) => {
      const key = Buffer.from(secret.replace(/^v1,whsec_/, ''), 'base64')
      return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
    })
    .join(' ')
}

/** A hook may refuse: `{ error: { http_code, message } }`. Throws `auth_hook_refused_…`. */
export function demandNoError(answer: Json): Json {
  const { error } = answer
  if (typeof error !== 'object' || error === null) return answer
  const { http_code, message } = error as { http_code?: unknown; message?: unknown }
  const status = Number(http_code)
  const code = Object.hasOwn(REFUSALS, status)
    ? REFUSALS[status as keyof typeof REFUSALS]
    : status >= 400 && status < 500
      ? ('auth_hook_refused_400' as const)
      : ('auth_hook_refused_500' as const)
  throw fail(code as 'auth_hook_refused_400', {
    reason: typeof message === 'string' && message !== '' ? message.slice(0, 500) : 'Refused by a hook',
  })
}

async function once(fetch: Outbound['fetch'], hook: Hook, id: string, body: string, now: number) {
  const timestamp = String(Math.floor(now / 1000))
  const signed: Record<string, string> =
    hook.secret === undefined ? {} : { 'webhook-signature': signatures(hook.secret, id, timestamp, body) }
  try {
    return await fetch(hook.uri, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': timestamp, ...signed },
      body,
      timeout: PATIENCE,
      maxBytes: PAYLOAD_BYTES,
      redirects: 0,
    })
  } catch (cause) {
    if (isSovraError(cause, 'outbound_timeout')) throw fail('auth_hook_timeout', { seconds: PATIENCE / 1000 }, { cause })
    throw fail('auth_hook_failed', { uri: hook.uri }, { cause })
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * POSTs a payload to a project's own URL, signed, and answers what it says. 429 and 503 are tried again where `retry-after` says so.
 * Throws `auth_hook_…`: time-out, refusal, or an answer that is none.
 */
export async function callUrl(fetch: Outbound['fetch'], hook: Hook, payload: Json, now: number): Promise<Json> {
  const body = JSON.stringify(payload)
  if (Buffer.byteLength(body) > PAYLOAD_BYTES) throw fail('auth_hook_payload_over_size_limit', { bytes: PAYLOAD_BYTES })
  const id = uuid()
  for (let left = TRIES; left > 0; left--) {
    const response = await once(fetch, hook, id, body, now)
    const after = response.headers.get('retry-after')
    if (RETRIED.has(response.status) && after !== null) {
      response.body.destroy()
      if (left > 1) await pause(Math.min(RETRY_AFTER_MAX, Number(after) * 1000 || 100))
      continue
    }
    return await answerOf(response, hook)
  }
  throw fail('auth_hook_timeout_after_retry')
}

async function answerOf(response: Awaited<ReturnType<Outbound['fetch']>>, hook: Hook): Promise<Json> {
  const type = response.headers.get('content-type')
  try {
    const text = await response.text()
    if (!response.ok) throw fail('auth_hook_failed', { uri: hook.uri }, { cause: `it answered ${response.status}` })
    if (text === '') return {}
    if (type !== null && !/^application\/(?:[\w.-]+\+)?json\b/i.test(type))
      throw fail('auth_hook_payload_invalid_content_type', { type: type.slice(0, 100) })
    return demandNoError(Object(JSON.parse(text)) as Json)
  } catch (cause) {
    if (isSovraError(cause) && cause.code.startsWith('auth_')) throw cause
    throw fail('auth_hook_failed', { uri: hook.uri }, { cause })
  }
}

/** Schema and function of a `pg-functions://` URI; null: it is a URL. */
export function functionOf({ uri }: Hook): { schema: string; name: string } | null {
  const found = /^pg-functions:\/\/postgres\/([^/]+)\/([^/]+)$/.exec(uri)
  return found ? { schema: found[1]!, name: found[2]! } : null
}
