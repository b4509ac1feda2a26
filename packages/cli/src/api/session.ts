import { CliError, stop } from '../terminal/errors.ts'
import type { Credential } from './authenticator.ts'
import { makeClient } from './client.ts'

export interface Token {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
}

export interface TokenWithText extends Token {
  readonly token: string
}

interface Person {
  readonly url: string
  readonly email: string
  readonly password: string
}

interface Factor {
  readonly id: string
  readonly factor_type: string
  readonly status: string
}

interface Challenge {
  readonly id: string
  readonly webauthn?: { readonly credential_options: { readonly publicKey: object } }
}

/** For members with a second factor. */
export interface Asking {
  readonly askCode: () => Promise<string>
  /** For a security key; `options`: WebAuthn's. */
  readonly askKey: (options: object) => Promise<Credential>
  readonly makeKey: (options: object) => Promise<Credential>
}

/** One request to the auth API of the platform. */
export async function auth<T>(url: string, token: string | null, method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${url}/auth/v1${path}`, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const answer = (text === '' ? null : JSON.parse(text)) as T & { error_code?: string; msg?: string }
  if (response.ok) return answer
  throw new CliError({ code: answer?.error_code ?? 'internal', message: answer?.msg ?? 'The server refused.' }, response.status)
}

/** The same session, after its second factor was shown. */
async function strengthen(url: string, token: string, { askCode, askKey }: Asking): Promise<string> {
  const { factors = [] } = await auth<{ factors?: Factor[] }>(url, token, 'GET', '/user')
  const usable = factors.filter(({ status }) => status === 'verified')
  const of = (type: string) => usable.find(({ factor_type }) => factor_type === type)
  const factor = of('totp') ?? of('phone') ?? of('webauthn')
  if (!factor) throw stop('mfa_required')
  const { id, webauthn } = await auth<Challenge>(url, token, 'POST', `/factors/${factor.id}/challenge`, {})
  const shown = webauthn
    ? { webauthn: { type: 'request', credential_response: await askKey(webauthn.credential_options.publicKey) } }
    : { code: await askCode() }
  const body = { challenge_id: id, ...shown }
  return (await auth<{ access_token: string }>(url, token, 'POST', `/factors/${factor.id}/verify`, body)).access_token
}

/** The session of an address and a password. */
export async function sessionOf({ url, email, password }: Person): Promise<string> {
  const stranger = makeClient({ name: url, url, token: null })
  return (await stranger.request<{ access_token: string }>('POST', '/session', { body: { email, password } })).access_token
}

export const makeToken = async (person: Person, name: string, life: string | undefined, asking: Asking): Promise<TokenWithText> =>
  makeTokenBy(person.url, await sessionOf(person), { name, life, ...asking })

/** The session of whoever has a passkey. */
export async function sessionByPasskey(url: string, askKey: Asking['askKey']): Promise<string> {
  const asked = await auth<{ challenge_id: string; options: object }>(url, null, 'POST', '/passkeys/authentication/options', {})
  const body = { challenge_id: asked.challenge_id, credential: await askKey(asked.options) }
  return (await auth<{ access_token: string }>(url, null, 'POST', '/passkeys/authentication/verify', body)).access_token
}

/** What a browser brought back (RFC 7636), for a session. */
export async function sessionByCode(url: string, code: string, verifier: string): Promise<string> {
  const body = { auth_code: code, code_verifier: verifier }
  return (await auth<{ access_token: string }>(url, null, 'POST', '/token?grant_type=pkce', body)).access_token
}

interface Wish extends Asking {
  readonly name: string
  /** 90d; undefined: no end. */
  readonly life: string | undefined
}

const WEAK: readonly string[] = ['mfa_required', 'insufficient_aal']

/** Something that a token may not do, by a session that lives only for that. A second factor is asked for where the server wants one. */
export async function whileSignedIn<R>(url: string, session: string, asking: Asking, work: (token: string) => Promise<R>): Promise<R> {
  let token = session
  try {
    return await work(token).catch(async (error: unknown) => {
      if (!(error instanceof CliError) || !WEAK.includes(error.shown.code)) throw error
      token = await strengthen(url, token, asking)
      return work(token)
    })
  } finally {
    await makeClient({ name: url, url, token })
      .request('DELETE', '/session')
      .catch(() => undefined)
  }
}

/** A personal access token: a token itself may not make others. */
export const makeTokenBy = (url: string, session: string, { name, life, ...asking }: Wish): Promise<TokenWithText> =>
  whileSignedIn(url, session, asking, (token) =>
    makeClient({ name: url, url, token }).request<TokenWithText>('POST', '/tokens', { body: { name, ...(life ? { for: life } : {}) } }),
  )
