import { command, type Group } from '../program/command.ts'
import { localTime } from '../terminal/output.ts'

interface Link {
  readonly url: string
  readonly email: string | null
  readonly expires_at: string | null
}

const link = command<object, [email?: string]>({
  use: 'link [email]',
  says: 'a one-time link that signs an administrator in, or sets the installation up',
  examples: ['sovra admin link', 'sovra admin link ada@example.org'],
  more: 'Good for 30 minutes, and recorded. Without an e-mail: the first administrator; before there is one, the set-up.',
  async run(context, _options, email) {
    const client = await context.client()
    const made = await client.request<Link>('POST', '/admin-links', { body: email === undefined ? {} : { email } })
    const says =
      made.email === null
        ? 'It sets the installation up; open it once.'
        : `It signs ${made.email} in, once, until ${localTime(made.expires_at)}.`
    context.note(says)
    return { data: made, text: made.url }
  },
})

export const admin: Group = { name: 'admin', says: 'get back in', commands: [link] }
