import { X509Certificate } from 'node:crypto'
import { Agent, type RequestInit, fetch as undiciFetch } from 'undici'

/**
 * `fetch` to this machine's own server by TLS. Its certificate is of a public name, perhaps of an authority that nobody here knows, and it is
 * asked by a loopback address: so the other side must have the very certificate of this file (PEM, its own first) instead of a name.
 */
export function pinnedFetch(chain: string): typeof globalThis.fetch {
  const own = new X509Certificate(chain)
  const dispatcher = new Agent({
    connect: {
      ca: chain,
      allowPartialTrustChain: true,
      // An error is what Node asks for here; `fetch` rejects with it as its cause.
      checkServerIdentity: (_host, { raw }) =>
        own.raw.equals(raw) ? undefined : new Error('it has another certificate than the configuration'),
    },
  })
  return ((url: string | URL, init?: object) =>
    undiciFetch(url, { ...init, dispatcher } as RequestInit)) as unknown as typeof globalThis.fetch
}
