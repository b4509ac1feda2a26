import type { Organisation } from '../api/find.ts'
import { command } from '../program/command.ts'
import { pairs } from '../terminal/output.ts'

interface Me {
  readonly id: string
  readonly kind: string
  readonly email: string | null
  readonly admin: boolean
  readonly memberships: readonly { readonly organisation: string; readonly project: string | null; readonly role: string }[]
}

export const whoami = command({
  use: 'whoami',
  says: 'who you are, on which server, with which roles',
  examples: ['sovra whoami', 'sovra whoami --server prod --json'],
  async run(context) {
    const client = await context.client()
    const me = await client.request<Me>('GET', '/session')
    const names = new Map((await client.all<Organisation>('/organisations')).map(({ id, name }) => [id, name]))
    const role = (bound: Me['memberships'][number]) =>
      `${bound.role} of ${names.get(bound.organisation) ?? bound.organisation}${bound.project === null ? '' : `, project ${bound.project}`}`
    const text = pairs([
      ['Server', `${client.name} (${client.url})`],
      ['You are', me.kind === 'local' ? "this machine's owner" : me.email],
      ['Installation', me.admin ? 'administrator' : null],
      ...me.memberships.map((bound, i): [string, string] => [i === 0 ? 'Roles' : '', role(bound)]),
    ])
    return { data: { server: client.name, url: client.url, ...me }, text }
  },
})
