import { makeToken, type Token } from '../api/session.ts'
import { command, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, table } from '../terminal/output.ts'
import { ask, askSecret } from '../terminal/prompt.ts'

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

const create = command<{ for?: string }, [name: string]>({
  use: 'create <name>',
  says: 'make a token that acts as you; it is shown once',
  examples: ['sovra tokens create ci --for 90d'],
  flags: [['--for <duration>', 'how long; without it, it has no end']],
  more: 'Your password is asked for, on the terminal or from standard input: a token makes no other token.',
  async run(context, { for: life }, name) {
    const client = await context.client()
    const { email } = await client.request<{ email: string | null }>('GET', '/session')
    if (email === null)
      throw stop('usage_wrong', { reason: 'This machine has no tokens of its own', hint: 'Sign in as a member: sovra login.' })
    const made = await makeToken({ url: client.url, email, password: await askSecret(`Password of ${email}: `) }, name, life, () =>
      ask('Code of your second factor: '),
    )
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
