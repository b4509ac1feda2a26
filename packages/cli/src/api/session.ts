import { CliError, stop } from '../terminal/errors.ts'
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

/** One request to the auth API of the platform. */
async function auth<T>(url: string, token: string | null, method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${url}/auth/v1${path}`, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const answer = (await response.json()) as T & { error_code?: string; msg?: string }
  if (response.ok) return answer
  throw new CliError({ code: answer.error_code ?? 'internal', message: answer.msg ?? 'The server refused.' }, response.status)
}

/** The same session, after its second factor was shown. */
async function strengthen(url: string, token: string, askCode: () => Promise<string>): Promise<string> {
  const { factors = [] } = await auth<{ factors?: Factor[] }>(url, token, 'GET', '/user')
  const usable = factors.filter(({ status, factor_type }) => status === 'verified' && factor_type !== 'webauthn')
  const factor = usable.find(({ factor_type }) => factor_type === 'totp') ?? usable[0]
  if (!factor) throw stop('mfa_required')
  const { id } = await auth<{ id: string }>(url, token, 'POST', `/factors/${factor.id}/challenge`, {})
  const body = { challenge_id: id, code: await askCode() }
  return (await auth<{ access_token: string }>(url, token, 'POST', `/factors/${factor.id}/verify`, body)).access_token
}

/** The session of an address and a password. */
async function sessionOf({ url, email, password }: Person): Promise<string> {
  const stranger = makeClient({ name: url, url, token: null })
  return (await stranger.request<{ access_token: string }>('POST', '/session', { body: { email, password } })).access_token
}

export const makeToken = async (
  person: Person,
  name: string,
  life: string | undefined,
  askCode: () => Promise<string>,
): Promise<TokenWithText> => makeTokenBy(person.url, await sessionOf(person), { name, life, askCode })

/** What a browser brought back (RFC 7636), for a session. */
export async function sessionByCode(url: string, code: string, verifier: string): Promise<string> {
  const body = { auth_code: code, code_verifier: verifier }
  return (await auth<{ access_token: string }>(url, null, 'POST', '/token?grant_type=pkce', body)).access_token
}

interface Wish {
  readonly name: string
  /** 90d; undefined: no end. */
  readonly life: string | undefined
  /** For members with a second factor. */
  readonly askCode: () => Promise<string>
}

/** A personal access token, by a session that lives only for that: a token itself may not make others. */
export async function makeTokenBy(url: string, session: string, { name, life, askCode }: Wish): Promise<TokenWithText> {
  let token = session
  const make = () =>
    makeClient({ name: url, url, token }).request<TokenWithText>('POST', '/tokens', { body: { name, ...(life ? { for: life } : {}) } })
  try {
    return await make().catch(async (error: unknown) => {
      if (!(error instanceof CliError) || error.shown.code !== 'mfa_required') throw error
      token = await strengthen(url, token, askCode)
      return make()
    })
  } finally {
    await makeClient({ name: url, url, token })
      .request('DELETE', '/session')
      .catch(() => undefined)
  }
}
