import type { SigningKey as SigningKeySchema } from '@sovrabase/contract/project'
import type { Static } from 'typebox'
import { findProject } from '../api/find.ts'
import { command, type Group } from '../program/command.ts'
import { localTime, table } from '../terminal/output.ts'

type SigningKey = Static<typeof SigningKeySchema>
const ALG: [string, string] = ['--alg <name>', 'ES256, RS256, EdDSA or HS256']
const said = ({ kid, alg, state }: SigningKey): string => `${kid} (${alg}) is ${state}.`

const list = command<object, [project: string]>({
  use: 'list <project>',
  says: 'the keys that sign users’ tokens',
  examples: ['sovra keys signing list demo'],
  async run(context, _options, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const { items } = await client.request<{ items: SigningKey[] }>('GET', `/projects/${ref}/signing-keys`)
    const rows = items.map((key) => [key.kid, key.alg, key.state, key.expires_at === null ? '' : localTime(key.expires_at)])
    return { data: items, text: table(['KEY', 'ALGORITHM', 'STATE', 'UNTIL'], rows) }
  },
})

const prepare = command<{ alg?: string }, [project: string]>({
  use: 'prepare <project>',
  says: 'publish the next key, so that everybody knows it before it signs',
  examples: ['sovra keys signing prepare demo --alg EdDSA'],
  flags: [ALG],
  async run(context, { alg }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const made = await client.request<SigningKey>('POST', `/projects/${ref}/signing-keys`, { body: alg ? { alg } : {} })
    return { data: made, text: said(made) }
  },
})

const rotate = command<{ alg?: string; overlap?: string }, [project: string]>({
  use: 'rotate <project>',
  says: 'sign with the next key; the former verifies for a while',
  examples: ['sovra keys signing rotate demo', 'sovra keys signing rotate demo --alg RS256 --overlap 48h'],
  flags: [ALG, ['--overlap <duration>', 'how long the former verifies; 24h by default, or the life of a token']],
  async run(context, { alg, overlap }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const body = { ...(alg ? { alg } : {}), ...(overlap ? { overlap } : {}) }
    const made = await client.request<SigningKey>('POST', `/projects/${ref}/signing-keys/rotate`, { body })
    return { data: made, text: said(made) }
  },
})

const revoke = command<object, [project: string, key: string]>({
  use: 'revoke <project> <key>',
  says: 'refuse all that a former or next key signed, at once',
  examples: ['sovra keys signing revoke demo 0199…'],
  async run(context, _options, given, kid) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    await client.request('DELETE', `/projects/${ref}/signing-keys/${encodeURIComponent(kid)}`)
    return { data: { kid }, text: `Revoked ${kid}.` }
  },
})

export const signing: Group = { name: 'signing', says: 'keys that sign users’ tokens', commands: [list, prepare, rotate, revoke] }
