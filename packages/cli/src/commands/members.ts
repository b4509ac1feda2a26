import type { Invitation, InvitationWithLink, Member as MemberSchema } from '@sovrabase/contract/member'
import type { Static } from 'typebox'
import type { Client } from '../api/client.ts'
import { findOrganisation, findProject } from '../api/find.ts'
import { command, type Flag, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, table } from '../terminal/output.ts'

type Member = Static<typeof MemberSchema>
interface Options {
  readonly org?: string
}

const ROLES = ['owner', 'admin', 'developer', 'viewer', 'billing'] as const
const ORG: Flag = ['--org <name>', 'the organisation; needed when there are several']

/** A binding by its id or the member's e-mail. */
async function findMember(client: Client, organisation: string, given: string): Promise<Member> {
  const all = await client.all<Member>(`/organisations/${organisation}/members`)
  const found = all.filter(({ id, user }) => id === given || user.email === given.toLowerCase())
  if (found.length > 1) throw stop('name_ambiguous', { name: given, known: found.map(({ id, role }) => `${id} (${role})`).join(', ') })
  const member = found[0]
  if (!member) throw stop('member_unknown', { name: given, organisation })
  return member
}

const list = command<Options>({
  use: 'list',
  says: 'members and open invitations of an organisation',
  examples: ['sovra members list --org acme'],
  flags: [ORG],
  async run(context, { org }) {
    const client = await context.client()
    const { name } = await findOrganisation(client, org)
    const members = await client.all<Member>(`/organisations/${name}/members`)
    const { items: invitations } = await client.request<{ items: Static<typeof Invitation>[] }>('GET', `/organisations/${name}/invitations`)
    const rows = [
      ...members.map(({ id, user, role, project, created_at }) => [
        user.email,
        role,
        project ?? 'all',
        `since ${localTime(created_at)}`,
        id,
      ]),
      ...invitations.map(({ id, email, role, project, expires_at }) => [
        email ?? '(by link)',
        role,
        project ?? 'all',
        `invited until ${localTime(expires_at)}`,
        id,
      ]),
    ]
    return { data: { members, invitations }, text: table(['E-MAIL', 'ROLE', 'PROJECT', 'STATE', 'ID'], rows) }
  },
})

const invite = command<Options & { role: string; project?: string }, [email?: string]>({
  use: 'invite [email]',
  says: 'make a link that lets somebody in, once',
  examples: ['sovra members invite ada@example.org --role developer', 'sovra members invite --role viewer --project shop'],
  flags: [
    ORG,
    ['--role <role>', 'what they may do', { choices: ROLES, default: 'developer' }],
    ['--project <project>', 'only this project'],
  ],
  async run(context, { org, role, project }, email) {
    const client = await context.client()
    const { name } = await findOrganisation(client, org)
    const ref = project === undefined ? undefined : (await findProject(client, project.includes('/') ? project : `${name}/${project}`)).ref
    const made = await client.request<Static<typeof InvitationWithLink>>('POST', `/organisations/${name}/invitations`, {
      body: { role, ...(email === undefined ? {} : { email }), ...(ref === undefined ? {} : { project: ref }) },
    })
    context.note(`Give this link to them; it makes them ${role} of ${project ?? name}, once, until ${localTime(made.expires_at)}.`)
    return { data: made, text: made.url }
  },
})

const role = command<Options, [member: string, role: string]>({
  use: 'role <member> <role>',
  says: `change a role: ${ROLES.join(', ')}`,
  examples: ['sovra members role ada@example.org admin'],
  choices: { role: ROLES },
  flags: [ORG],
  async run(context, { org }, given, wanted) {
    const client = await context.client()
    const { name } = await findOrganisation(client, org)
    const member = await findMember(client, name, given)
    await client.request('PATCH', `/organisations/${name}/members/${member.id}`, { body: { role: wanted } })
    return { data: { ...member, role: wanted }, text: `${member.user.email ?? member.id} is ${wanted} now.` }
  },
})

const remove = command<Options, [member: string]>({
  use: 'remove <member>',
  says: 'take a member out, by e-mail or id',
  examples: ['sovra members remove ada@example.org --org acme'],
  flags: [ORG],
  async run(context, { org }, given) {
    const client = await context.client()
    const { name } = await findOrganisation(client, org)
    const member = await findMember(client, name, given)
    await client.request('DELETE', `/organisations/${name}/members/${member.id}`)
    return { data: member, text: `${member.user.email ?? member.id} is out of ${name}.` }
  },
})

export const members: Group = { name: 'members', says: 'who may do what in an organisation', commands: [list, invite, role, remove] }
