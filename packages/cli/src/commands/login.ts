import { hostname } from 'node:os'
import { type Client, makeClient } from '../api/client.ts'
import { checkName, readServers, type Server, withServer, writeServers } from '../api/servers.ts'
import { makeToken } from '../api/session.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { ask, askSecret } from '../terminal/prompt.ts'

interface Options {
  readonly name?: string
  readonly email?: string
  readonly token?: string
}

/** How long the token that a login makes is good. */
const LIFE = '90d'
const NAME_MAX = 63

/** Where no URL is given: the server of this machine. */
async function localUrl(): Promise<string> {
  const { localServer } = await import('../api/local.ts')
  return (await localServer()).url
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

export const login = command<Options, [url?: string]>({
  use: 'login [url]',
  says: 'sign in to a server and remember it',
  examples: ['sovra login https://api.example.org', 'sovra login https://api.example.org --name prod --token sovra_pat_…'],
  flags: [
    ['--name <name>', 'what you call it; its host by default'],
    ['--email <e-mail>', 'asked for when it is not given'],
    ['--token <token>', 'a personal access token instead of e-mail and password; `-` reads it from standard input'],
  ],
  more: `The password is asked for on the terminal, else read from standard input. A token for ${LIFE} is kept in ~/.config/sovrabase/servers.json.`,
  async run(context, options, given) {
    const url = checkUrl(given ?? (await localUrl()))
    if (!isPrivate(url)) context.note('warning: without https others on the way can read what is sent')
    const name = checkName(options.name ?? url.hostname.replace(/^\[|\]$/g, '').replaceAll(':', '-'))
    const at = url.href.replace(/\/+$/, '')
    let server: Server
    if (options.token !== undefined) {
      const token = options.token === '-' ? await askSecret('Token: ') : options.token
      const { email } = await whoIs(makeClient({ name, url: at, token }))
      server = { url: at, token, token_id: null, email }
    } else {
      const email = options.email ?? (await ask('E-mail: '))
      const password = await askSecret('Password: ')
      // A token instead of the session: one can see it in the list, and revoke it.
      const made = await makeToken({ url: at, email, password }, `sovra on ${hostname()}`.slice(0, NAME_MAX), LIFE, () =>
        ask('Code of your second factor: '),
      )
      server = { url: at, email, token: made.token, token_id: made.id }
    }
    writeServers(withServer(readServers(), name, server))
    return {
      data: { name, url: server.url, email: server.email },
      text: `Signed in to ${name} (${server.url}) as ${server.email}. Commands go there now; --server local is this machine.`,
    }
  },
})
