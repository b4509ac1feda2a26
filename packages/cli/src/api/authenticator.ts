import { randomBytes } from 'node:crypto'
import { type Browsing, broughtBack } from './browser.ts'

/** What an authenticator answers (WebAuthn Level 3 §5.1.8.3), for the server to verify. */
export type Credential = Readonly<Record<string, unknown>>

/** For one that there is, or to make one. */
export type Ceremony = 'get' | 'create'

/** Asks for a passkey or security key: authenticators speak to browsers, on a page of the server's own site. */
export async function askAuthenticator(server: string, kind: Ceremony, options: object, browsing: Browsing): Promise<Credential> {
  const state = randomBytes(16).toString('base64url')
  const wish = (to: string) => Buffer.from(JSON.stringify({ options, kind, to, state })).toString('base64url')
  const code = await broughtBack((to) => `${server}/authenticator#${wish(to)}`, browsing, state)
  return JSON.parse(Buffer.from(code, 'base64url').toString()) as Credential
}
