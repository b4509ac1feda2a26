import type { Client } from '../api/client.ts'
import { type Asking, auth, sessionByPasskey, sessionOf, whileSignedIn } from '../api/session.ts'
import { askingOf, browsingOf } from '../program/asking.ts'
import { type Context, command, type Flag, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, table } from '../terminal/output.ts'
import { askSecret } from '../terminal/prompt.ts'

interface Passkey {
  readonly id: string
  readonly friendly_name: string
  readonly created_at: string
  readonly last_used_at?: string
}

interface Options {
  readonly passkey?: boolean
  readonly browser?: boolean
}

const FLAGS: readonly Flag[] = [
  ['--passkey', 'by a passkey that you have, in place of the password'],
  ['--no-browser', 'opens none: open the address that is printed'],
]
const MORE = 'Your password is asked for, on the terminal or from standard input: what a token may do does not include this.'

interface At {
  readonly client: Client
  readonly asking: Asking
  /** One request to the own account, as who has just signed in. */
  readonly own: <T>(method: string, path: string, body?: unknown) => Promise<T>
}

/** Does something to the own account, which needs more than a token. */
async function asMember<R>(context: Context, { passkey, browser }: Options, work: (at: At) => Promise<R>): Promise<R> {
  const client = await context.client()
  const { email } = await client.request<{ email: string | null }>('GET', '/session')
  if (email === null)
    throw stop('usage_wrong', { reason: 'This machine has no passkeys of its own', hint: 'Sign in as a member: sovra login.' })
  const { url } = client
  const asking = askingOf(url, browsingOf(context, browser !== false))
  const session = passkey
    ? await sessionByPasskey(url, asking.askKey)
    : await sessionOf({ url, email, password: await askSecret(`Password of ${email}: `) })
  return whileSignedIn(url, session, asking, (token) =>
    work({ client, asking, own: (method, path, body) => auth(url, token, method, path, body) }),
  )
}

const list = command<Options>({
  use: 'list',
  says: 'your passkeys',
  examples: ['sovra passkeys list'],
  flags: FLAGS,
  more: MORE,
  async run(context, options) {
    const all = await asMember(context, options, ({ own }) => own<Passkey[]>('GET', '/passkeys'))
    const rows = all.map(({ id, friendly_name, created_at, last_used_at }) => [
      friendly_name,
      localTime(created_at) ?? '',
      localTime(last_used_at ?? null) ?? 'never',
      id,
    ])
    return { data: all, text: table(['NAME', 'MADE', 'USED', 'ID'], rows) }
  },
})

const add = command<Options, [name?: string]>({
  use: 'add [name]',
  says: 'make a passkey in the browser; `sovra login --passkey` then needs no password',
  examples: ['sovra passkeys add laptop'],
  flags: FLAGS,
  more: MORE,
  async run(context, options, name) {
    const made = await asMember(context, options, async ({ asking, own }) => {
      const asked = await own<{ challenge_id: string; options: object }>('POST', '/passkeys/registration/options', {})
      const body = { challenge_id: asked.challenge_id, credential: await asking.makeKey(asked.options) }
      const passkey = await own<Passkey>('POST', '/passkeys/registration/verify', body)
      return name === undefined ? passkey : own<Passkey>('PATCH', `/passkeys/${passkey.id}`, { friendly_name: name })
    })
    return { data: made, text: `The passkey ${made.friendly_name} is yours.` }
  },
})

const remove = command<Options, [id: string]>({
  use: 'remove <id>',
  says: 'a passkey is good no more',
  examples: ['sovra passkeys remove 0193a1b2-…'],
  flags: FLAGS,
  more: MORE,
  async run(context, options, id) {
    await asMember(context, options, ({ own }) => own('DELETE', `/passkeys/${encodeURIComponent(id)}`))
    return { data: { id }, text: `Removed ${id}.` }
  },
})

export const passkeys: Group = { name: 'passkeys', says: 'your ways in without a password', commands: [list, add, remove] }
