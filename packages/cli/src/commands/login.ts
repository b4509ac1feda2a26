import { hostname } from 'node:os'
import { type Browsing, signInByBrowser } from '../api/browser.ts'
import { type Client, makeClient } from '../api/client.ts'
import { checkName, readServers, type Server, withServer, writeServers } from '../api/servers.ts'
import { makeToken, makeTokenBy, sessionByCode, sessionByPasskey } from '../api/session.ts'
import { askingOf, browsingOf } from '../program/asking.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { ask, askSecret } from '../terminal/prompt.ts'

interface Options {
  readonly name?: string
  readonly email?: string
  readonly token?: string
  readonly sso?: string
  readonly provider?: string
  readonly passkey?: boolean
  readonly browser?: boolean
}

/** How long the token that a login makes is good. */
const LIFE = '90d'
const NAME_MAX = 63
const TOKEN_NAME = `sovra on ${hostname()}`.slice(0, NAME_MAX)

/** Where no URL is given: the server of this machine. */
async function localUrl(): Promise<string> {
  const { localServer } = await import('../api/local.ts')
  return (await localServer()).publicUrl
}

function checkUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol))
    throw stop('usage_wrong', { reason: `'${text}' is no URL`, hint: 'Write it as https://api.example.org.' })
  return url
}

const isPrivate = ({ protocol, hostname: host }: URL): boolean =>
  protocol === 'https:' || host === 'localhost' || host.endsWith('.localhost') || host.startsWith('127.') || host === '[::1]'

const whoIs = (client: Client) => client.request<{ email: string | null }>('GET', '/session')

interface Going {
  readonly name: string
  readonly at: string
  readonly browsing: Browsing
}

/** A token instead of the session: one can see it in the list, and revoke it. */
async function signIn(options: Options, { name, at, browsing }: Going): Promise<Server> {
  const asking = askingOf(at, browsing)
  const bySession = async (session: string): Promise<Server> => {
    const made = await makeTokenBy(at, session, { name: TOKEN_NAME, life: LIFE, ...asking })
    const { email } = await whoIs(makeClient({ name, url: at, token: made.token }))
    return { url: at, email, token: made.token, token_id: made.id }
  }
  if (options.token !== undefined) {
    const token = options.token === '-' ? await askSecret('Token: ') : options.token
    const { email } = await whoIs(makeClient({ name, url: at, token }))
    return { url: at, token, token_id: null, email }
  }
  if (options.sso !== undefined || options.provider !== undefined) {
    const way = options.sso === undefined ? { provider: options.provider ?? '' } : { domain: options.sso }
    const { code, verifier } = await signInByBrowser(at, way, browsing)
    return bySession(await sessionByCode(at, code, verifier))
  }
  if (options.passkey) return bySession(await sessionByPasskey(at, asking.askKey))
  const email = options.email ?? (await ask('E-mail: '))
  const password = await askSecret('Password: ')
  const made = await makeToken({ url: at, email, password }, TOKEN_NAME, LIFE, asking)
  return { url: at, email, token: made.token, token_id: made.id }
}

export const login = command<Options, [url?: string]>({
  use: 'login [url]',
  says: 'sign in to a server and remember it',
  examples: [
    'sovra login https://api.example.org',
    'sovra login https://api.example.org --sso example.org',
    'sovra login https://api.example.org --passkey',
    'sovra login https://api.example.org --name prod --token sovra_pat_…',
  ],
  flags: [
    ['--name <name>', 'what you call it; its host by default'],
    ['--email <e-mail>', 'asked for when it is not given'],
    ['--sso <domain>', "by your organisation's identity provider, in the browser: example.org"],
    ['--provider <name>', 'by a provider that the platform knows, in the browser: keycloak, google …'],
    ['--passkey', 'by a passkey, in the browser'],
    ['--no-browser', 'opens none: open the address that is printed'],
    ['--token <token>', 'a personal access token instead of e-mail and password; `-` reads it from standard input'],
  ],
  more: `The password is asked for on the terminal, else read from standard input. A token for ${LIFE} is kept in ~/.config/sovrabase/servers.json.`,
  async run(context, options, given) {
    const url = checkUrl(given ?? (await localUrl()))
    if (!isPrivate(url)) context.note('warning: without https others on the way can read what is sent')
    const name = checkName(options.name ?? url.hostname.replace(/^\[|\]$/g, '').replaceAll(':', '-'))
    const at = url.href.replace(/\/+$/, '')
    const server = await signIn(options, { name, at, browsing: browsingOf(context, options.browser !== false) })
    writeServers(withServer(readServers(), name, server))
    return {
      data: { name, url: server.url, email: server.email },
      text: `Signed in to ${name} (${server.url}) as ${server.email}. Commands go there now; --server local is this machine.`,
    }
  },
})
