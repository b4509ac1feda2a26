import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { stop } from '../terminal/errors.ts'

const MINUTES = 10
const PATH = '/sovra'
const OPENERS: Readonly<Partial<Record<NodeJS.Platform, string>>> = { darwin: 'open', linux: 'xdg-open' }

/** How a member signs in at the platform by somebody else: an identity provider of their domain, or a provider by name. */
export type Way = { readonly domain: string } | { readonly provider: string }

export interface Brought {
  readonly code: string
  readonly verifier: string
}

function startUrl(server: string, way: Way, redirectTo: string, verifier: string): string {
  const [path, params] = 'domain' in way ? ['/sso', { domain: way.domain }] : ['/authorize', { provider: way.provider }]
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const all = { ...params, redirect_to: redirectTo, code_challenge: challenge, code_challenge_method: 's256' }
  return `${server}/auth/v1${path}?${new URLSearchParams(all as Record<string, string>)}`
}

/** Whoever has no browser here opens the address elsewhere on this machine. */
function show(url: string): void {
  const opener = OPENERS[process.platform]
  if (opener === undefined) return
  const child = spawn(opener, [url], { stdio: 'ignore', detached: true })
  child.on('error', () => undefined)
  child.unref()
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)

function answer(response: ServerResponse, text: string): void {
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'",
    connection: 'close',
  })
  response.end(`<!doctype html><meta charset="utf-8"><title>sovra</title><p>${escaped(text)}</p>`)
}

/** How the address is told. */
export interface Browsing {
  readonly says: (url: string) => void
  /** Whether a browser is opened. */
  readonly opens: boolean
}

/** What a browser brings back to a port of this machine (RFC 8252 §7.3). `state`: where it must bring that too. */
export async function broughtBack(
  startUrl: (redirectTo: string) => string,
  { says, opens }: Browsing,
  state: string | null = null,
): Promise<string> {
  // Loaded here: it takes as long as all of the command line's own code.
  const { createServer } = await import('node:http')
  const listener = createServer()
  await new Promise<void>((done, failed) => listener.once('error', failed).listen(0, '127.0.0.1', done))
  const redirectTo = `http://127.0.0.1:${(listener.address() as AddressInfo).port}${PATH}`
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<string>((done, failed) => {
      timer = setTimeout(() => failed(stop('browser_sign_in_late', { minutes: MINUTES })), MINUTES * 60_000)
      listener.on('request', (request, response) => {
        const url = new URL(request.url ?? '/', redirectTo)
        const code = url.searchParams.get('code')
        const reason = url.searchParams.get('error_description') ?? url.searchParams.get('error')
        const ours = url.pathname === PATH && (state === null || url.searchParams.get('state') === state)
        if (!ours || (code === null && reason === null)) return response.writeHead(404, { connection: 'close' }).end()
        answer(response, code === null ? `Not signed in: ${reason}` : 'Done. You can close this page and go back to the terminal.')
        if (code === null) failed(stop('browser_sign_in_failed', { reason: (reason ?? '').slice(0, 300) }))
        else done(code)
      })
      const url = startUrl(redirectTo)
      says(url)
      if (opens) show(url)
    })
  } finally {
    clearTimeout(timer)
    listener.close()
    listener.closeIdleConnections()
  }
}

/**
 * Lets somebody sign in in their browser, which comes back with a code. The verifier stays here, so that the code is of no use to anybody
 * else, and somebody else's is of none here.
 */
export async function signInByBrowser(server: string, way: Way, browsing: Browsing): Promise<Brought> {
  const verifier = randomBytes(32).toString('base64url')
  return { code: await broughtBack((redirectTo) => startUrl(server, way, redirectTo, verifier), browsing), verifier }
}
