import { makeToken, makeTokenBy, sessionByPasskey, type Token } from '../api/session.ts'
import { askingOf, browsingOf } from '../program/asking.ts'
import { command, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, table } from '../terminal/output.ts'
import { askSecret } from '../terminal/prompt.ts'

const list = command({
  use: 'list',
  says: 'your personal access tokens',
  examples: ['sovra tokens list'],
  async run(context) {
    const all = await (await context.client()).all<Token>('/tokens')
    const rows = all.map((token) => [
      token.name,
      `${token.prefix}…`,
      localTime(token.expires_at) ?? 'never',
      localTime(token.last_used_at) ?? 'never',
      token.id,
    ])
    return { data: all, text: table(['NAME', 'BEGINS', 'ENDS', 'USED', 'ID'], rows) }
  },
})

const create = command<{ for?: string; passkey?: boolean; browser?: boolean }, [name: string]>({
  use: 'create <name>',
  says: 'make a token that acts as you; it is shown once',
  examples: ['sovra tokens create ci --for 90d'],
  flags: [
    ['--for <duration>', 'how long; without it, it has no end'],
    ['--passkey', 'by a passkey, in the browser, in place of the password'],
    ['--no-browser', 'opens none: open the address that is printed'],
  ],
  more: 'Your password is asked for, on the terminal or from standard input: a token makes no other token.',
  async run(context, { for: life, passkey, browser }, name) {
    const client = await context.client()
    const { email } = await client.request<{ email: string | null }>('GET', '/session')
    if (email === null)
      throw stop('usage_wrong', { reason: 'This machine has no tokens of its own', hint: 'Sign in as a member: sovra login.' })
    const { url } = client
    const asking = askingOf(url, browsingOf(context, browser !== false))
    const made = passkey
      ? await makeTokenBy(url, await sessionByPasskey(url, asking.askKey), { name, life, ...asking })
      : await makeToken({ url, email, password: await askSecret(`Password of ${email}: `) }, name, life, asking)
    return { data: made, text: made.token }
  },
})

const revoke = command<object, [id: string]>({
  use: 'revoke <id>',
  says: 'end a token at once',
  examples: ['sovra tokens revoke 0193a1b2-…'],
  async run(context, _options, id) {
    await (await context.client()).request('DELETE', `/tokens/${encodeURIComponent(id)}`)
    return { data: { id }, text: `Revoked ${id}.` }
  },
})

export const tokens: Group = { name: 'tokens', says: 'personal access tokens, for scripts', commands: [list, create, revoke] }
