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

/** A personal access token, by a session that lives only for that: a token itself may not make others. `life`: 90d; undefined: no end. */
export async function makeToken({ url, email, password }: Person, name: string, life: string | undefined): Promise<TokenWithText> {
  const stranger = makeClient({ name: url, url, token: null })
  const session = await stranger.request<{ access_token: string }>('POST', '/session', { body: { email, password } })
  const member = makeClient({ name: url, url, token: session.access_token })
  try {
    return await member.request<TokenWithText>('POST', '/tokens', { body: { name, ...(life ? { for: life } : {}) } })
  } finally {
    await member.request('DELETE', '/session').catch(() => undefined)
  }
}
