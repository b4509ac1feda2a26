import type { SigningKey as SigningKeySchema } from '@sovrabase/contract/project'
import type { Static } from 'typebox'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { command, type Flag, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, table } from '../terminal/output.ts'

type SigningKey = Static<typeof SigningKeySchema>
interface Where {
  readonly platform?: boolean
}

const PLATFORM: Flag = ['--platform', "of members' own sign-in, in place of a project"]
const said = ({ kid, state }: SigningKey): string => `${kid} is ${state}.`

async function pathOf(client: Client, { platform = false }: Where, given: string | undefined): Promise<string> {
  if (platform && given === undefined) return '/platform/saml-keys'
  if (platform || given === undefined)
    throw stop('usage_wrong', { reason: 'name a project, or --platform', hint: 'sovra keys saml list demo' })
  return `/projects/${(await findProject(client, given)).ref}/saml-keys`
}

const list = command<Where, [project?: string]>({
  use: 'list [project]',
  says: 'the keys of single sign-on (SAML)',
  examples: ['sovra keys saml list demo', 'sovra keys saml list --platform'],
  flags: [PLATFORM],
  async run(context, options, given) {
    const client = await context.client()
    const { items } = await client.request<{ items: SigningKey[] }>('GET', await pathOf(client, options, given))
    const rows = items.map((key) => [
      key.kid,
      key.state,
      localTime(key.created_at),
      key.expires_at === null ? '' : localTime(key.expires_at),
    ])
    return { data: items, text: table(['KEY', 'STATE', 'SINCE', 'UNTIL'], rows) }
  },
})

const prepare = command<Where, [project?: string]>({
  use: 'prepare [project]',
  says: 'put the next key into our metadata, so that identity providers know it before it signs',
  examples: ['sovra keys saml prepare demo'],
  flags: [PLATFORM],
  async run(context, options, given) {
    const client = await context.client()
    const made = await client.request<SigningKey>('POST', await pathOf(client, options, given))
    return { data: made, text: `${said(made)} Give identity providers the metadata again, then: sovra keys saml rotate` }
  },
})

const rotate = command<Where & { overlap?: string }, [project?: string]>({
  use: 'rotate [project]',
  says: 'sign requests with the next key; the former opens assertions for a while',
  examples: ['sovra keys saml rotate demo', 'sovra keys saml rotate demo --overlap 0s'],
  flags: [PLATFORM, ['--overlap <duration>', 'how long the former key opens assertions; 30d by default']],
  async run(context, options, given) {
    const client = await context.client()
    const { overlap } = options
    const made = await client.request<SigningKey>('POST', `${await pathOf(client, options, given)}/rotate`, {
      body: overlap ? { overlap } : {},
    })
    return { data: made, text: said(made) }
  },
})

const revoke = command<Where, [key: string, project?: string]>({
  use: 'revoke <key> [project]',
  says: 'a former or next key opens nothing more, and leaves the metadata',
  examples: ['sovra keys saml revoke 0199… demo'],
  flags: [PLATFORM],
  async run(context, options, kid, given) {
    const client = await context.client()
    await client.request('DELETE', `${await pathOf(client, options, given)}/${encodeURIComponent(kid)}`)
    return { data: { kid }, text: `Revoked ${kid}.` }
  },
})

export const saml: Group = { name: 'saml', says: 'keys of single sign-on', commands: [list, prepare, rotate, revoke] }
