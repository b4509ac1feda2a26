import type { ApiKey as ApiKeySchema, ApiKeyWithText, Project, RevealedKeys } from '@sovrabase/contract/project'
import type { Static } from 'typebox'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { command, type Group } from '../program/command.ts'
import { areMany, chosen, MANY_FLAGS, type ManyOptions, onMany, RUN_FLAGS, RUN_MORE, type Step } from '../program/many.ts'
import { stop } from '../terminal/errors.ts'
import { localTime, pairs, table } from '../terminal/output.ts'
import { exportRoot, root, rotateRoot } from './keys-root.ts'
import { saml } from './keys-saml.ts'
import { signing } from './keys-signing.ts'

type ApiKey = Static<typeof ApiKeySchema>
type Revealed = Static<typeof RevealedKeys>

function stateOf({ revoked_at, expires_at }: ApiKey): string {
  if (revoked_at !== null) return `revoked ${localTime(revoked_at)}`
  if (expires_at === null) return 'good'
  return `${Date.parse(expires_at) > Date.now() ? 'good until' : 'ended'} ${localTime(expires_at)}`
}

/** The beginning of an opaque key, the end of a JWT: those begin alike. */
const shortOf = ({ prefix }: ApiKey): string => (prefix.startsWith('...') ? `…${prefix.slice(3)}` : `${prefix}…`)

const list = command<{ reveal?: boolean }, [project: string]>({
  use: 'list <project>',
  says: 'the keys of a project',
  examples: ['sovra keys list demo', 'sovra keys list demo --reveal --json'],
  flags: [['--reveal', 'the living keys in full; it is recorded']],
  async run(context, { reveal }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    if (reveal) {
      const found = await keysOf(client, ref)
      return {
        data: found.keys,
        text: table(
          ['NAME', 'KIND', 'KEY'],
          found.keys.map((key) => [key.name, key.kind, key.key]),
        ),
      }
    }
    const all = await client.all<ApiKey>(`/projects/${ref}/keys`)
    const rows = all.map((key) => [key.name, key.kind, key.role, shortOf(key), stateOf(key), key.id])
    return { data: all, text: table(['NAME', 'KIND', 'ROLE', 'KEY', 'STATE', 'ID'], rows) }
  },
})

const create = command<{ kind: string }, [project: string, name: string]>({
  use: 'create <project> <name>',
  says: 'make a named key: publishable for browsers, secret for servers',
  examples: ['sovra keys create demo website', 'sovra keys create demo worker --kind secret'],
  flags: [
    [
      '--kind <kind>',
      'publishable acts as anon, secret passes row-level security',
      { choices: ['publishable', 'secret'], default: 'publishable' },
    ],
  ],
  async run(context, { kind }, given, name) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const made = await client.request<Static<typeof ApiKeyWithText>>('POST', `/projects/${ref}/keys`, { body: { name, kind } })
    return { data: made, text: made.key }
  },
})

const revoke = command<object, [project: string, key: string]>({
  use: 'revoke <project> <key>',
  says: 'end a key at once, everywhere; by name or id',
  examples: ['sovra keys revoke demo worker'],
  async run(context, _options, given, wanted) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const all = await client.all<ApiKey>(`/projects/${ref}/keys`)
    const found = all.filter(({ id, name, revoked_at }) => revoked_at === null && (id === wanted || name === wanted))
    if (found.length > 1) throw stop('name_ambiguous', { name: wanted, known: found.map(({ id, kind }) => `${id} (${kind})`).join(', ') })
    const key = found[0]
    if (!key) throw stop('key_unknown', { name: wanted })
    await client.request('DELETE', `/projects/${ref}/keys/${key.id}`)
    return { data: key, text: `Revoked ${key.name} (${shortOf(key)}).` }
  },
})

interface RotateOptions extends ManyOptions {
  readonly overlap?: string
  readonly signing?: boolean
  readonly password?: boolean
}

/** ms for which the server knows an Idempotency-Key, and a little less. */
const KNOWN_KEY = 23 * 3_600_000

/** The secret with its keys, and what else the flags name; of many, once over all attempts. */
async function rotateOne(client: Client, { ref }: Project, options: RotateOptions, step?: Step): Promise<Revealed> {
  if (step?.before?.text !== 'begun') step?.mark('begun')
  else if (Date.now() - step.before.at > KNOWN_KEY) throw stop('run_uncertain')
  const { overlap, signing: users, password } = options
  const body = overlap === undefined ? {} : { body: { overlap } }
  const headers = (what: string) => (step ? { headers: { 'idempotency-key': `${step.key}.${what}` } } : {})
  if (users) await client.request('POST', `/projects/${ref}/signing-keys/rotate`, { ...body, ...headers('signing') })
  if (password) await client.request('POST', `/projects/${ref}/connection/rotate`, headers('password'))
  return client.request<Revealed>('POST', `/projects/${ref}/keys/rotate`, { ...body, ...headers('keys') })
}

/** The keys that an earlier attempt has made. */
const keysOf = (client: Client, ref: string): Promise<Revealed> => client.request<Revealed>('POST', `/projects/${ref}/keys/reveal`)

const rotate = command<RotateOptions, [project?: string]>({
  use: 'rotate [project]',
  says: 'a new signing secret with new anon and service_role keys; the former stay good for a while',
  examples: ['sovra keys rotate demo --overlap 48h', 'sovra keys rotate --all --signing --password --json > new-keys.json'],
  flags: [
    ['--overlap <duration>', 'how long the former secret and keys stay good; 24h by default'],
    ['--signing', "the key that signs users' tokens too"],
    ['--password', 'the password of the database too; the former ends at once'],
    ...MANY_FLAGS,
    ...RUN_FLAGS,
  ],
  more: `Of many projects the table shows no secrets: --json has them.\n${RUN_MORE}`,
  async run(context, options, given) {
    const client = await context.client()
    const projects = await chosen(client, given, options)
    const only = projects[0]
    if (areMany(options) || !only) {
      const { overlap, signing: users, password } = options
      return onMany(context, client, projects, options, {
        recorded: { command: 'keys rotate', overlap, users, password },
        work: (project, step) => rotateOne(client, project, options, step),
        again: ({ ref }) => keysOf(client, ref),
      })
    }
    const made = await rotateOne(client, only, options)
    const text = pairs([
      ['Anon key', made.anon_key],
      ['Service role', made.service_role_key],
      ['JWT secret', made.jwt_secret],
    ])
    return { data: made, text }
  },
})

export const keys: Group = {
  name: 'keys',
  says: 'API keys of a project; the root key',
  commands: [list, create, revoke, rotate, signing, saml, root, rotateRoot, exportRoot],
}
