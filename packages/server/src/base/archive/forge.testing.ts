import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import { zstdCompressSync } from 'node:zlib'
import { sha256 } from '../crypto.ts'
import { FORMAT, HEADER, IDENTITY, INSTALLATION, METADATA, projectMember, serviceMember, VERSION } from './format.ts'
import { newIdentity, seal } from './seal.ts'
import { ArchiveWriter } from './write.ts'

export const REF = 'abcdefghijklmnopqrst'
// biome-ignore lint/suspicious/noExplicitAny: anything may be made of it
type Anything = any

export interface Forged {
  header: Anything
  installation: Anything
  record: Anything
  projects: Anything
  readonly members: Map<string, Buffer>
}

/** A backup of one project, sealed as its maker likes, with whatever `change` makes of its parts: its sums always fit. Answers the private key. */
export async function forgeBackup(file: string, tar: Buffer, change: (forged: Forged) => void = () => {}): Promise<string> {
  const { identity, recipient } = await newIdentity()
  const owner = await newIdentity()
  const data = serviceMember(REF, 'db')
  const service = { name: 'db', engine: 'postgres', engine_version: '18.4' }
  const forged: Forged = {
    header: {
      format: FORMAT,
      version: VERSION,
      id: 'forged',
      created_at: '2026-11-27T00:00:00.000Z',
      scope: 'installation',
      server_version: '0',
    },
    installation: { root_keys: ['0'.repeat(64)], jwt_secret: 'jwt', template_key: 'key', node_name: 'node', config: null },
    record: {
      ...{ ref: REF, name: 'one', organisation: { name: 'acme', title: 'Acme' }, labels: {} },
      ...{ realm_keys: [], api_keys: [], settings: [] },
      services: [{ ...service, spec: {}, volume: 'volume', system_version: 1, secrets: {}, sha256: null }],
    },
    projects: [
      { ref: REF, name: 'one', organisation: 'acme', state: 'active', services: [{ ...service, awake: false, bytes: tar.length }] },
    ],
    members: new Map([
      [METADATA, zstdCompressSync('no database')],
      [data, zstdCompressSync(tar)],
    ]),
  }
  change(forged)
  const content = forged.members.get(data)
  if (content && forged.record?.services?.[0]) forged.record.services[0].sha256 = sha256(content)
  const to = (value: unknown, recipients: string[]) => seal(JSON.stringify(value), { recipients })
  const out = createWriteStream(file)
  const archive = new ArchiveWriter(out, 0)
  await archive.bytes(HEADER, Buffer.from(JSON.stringify(forged.header)))
  await archive.bytes(IDENTITY, await seal(identity, { recipients: [owner.recipient] }))
  if (forged.installation !== undefined) await archive.bytes(INSTALLATION, await to(forged.installation, [recipient]))
  for (const [name, bytes] of forged.members) await archive.bytes(name, bytes)
  await archive.bytes(projectMember(REF), await to(forged.record, [recipient]))
  await archive.end(forged.projects, identity)
  await finished(out)
  return owner.identity
}
