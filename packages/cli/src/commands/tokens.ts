import { command, type Group } from '../command.ts'
import { localTime, table } from '../output.ts'

interface Token {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
}

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
  async run(context, { for: life }, name) {
    const client = await context.client()
    const made = await client.request<Token & { token: string }>('POST', '/tokens', { body: { name, ...(life ? { for: life } : {}) } })
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
