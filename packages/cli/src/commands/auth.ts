import type { UserToken } from '@sovrabase/contract/project'
import type { Static } from 'typebox'
import { findProject } from '../api/find.ts'
import { command, type Group } from '../program/command.ts'
import { localTime } from '../terminal/output.ts'
import { mail, outbox } from './auth-mail.ts'
import { exportUsers, importUsers } from './auth-users.ts'

interface Options {
  readonly sub: string
  readonly for: string
  readonly role: string
}

const token = command<Options, [project: string]>({
  use: 'token <project>',
  says: 'a signed token of a user, for trying row-level security; it is recorded',
  examples: ['sovra auth token demo --sub 00000000-0000-4000-8000-000000000001 --for 1h'],
  flags: [
    ['--sub <uuid>', "the user's id: auth.uid() answers it"],
    ['--for <duration>', 'how long: 90s, 15m, 1h, 7d at most', { default: '1h' }],
    ['--role <role>', 'the role of the database', { default: 'authenticated' }],
  ],
  async run(context, { sub, for: life, role }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const made = await client.request<Static<typeof UserToken>>('POST', `/projects/${ref}/user-tokens`, { body: { sub, for: life, role } })
    context.note(`Good until ${localTime(made.expires_at)}.`)
    return { data: made, text: made.token }
  },
})

export const auth: Group = { name: 'auth', says: "a project's users", commands: [token, importUsers, exportUsers, outbox, mail] }
