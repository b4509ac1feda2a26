import { type TSchema, Type } from 'typebox'
import { fail } from '../errors.ts'
import { wrongWith } from '../schema.ts'
import { FORMAT, HEADER, type Header as HeaderOf, VERSION } from './format.ts'

/** What is read of a backup is somebody else's until it is compared with these. */

const Text = Type.String({ maxLength: 4096 })
const NullableText = Type.Union([Text, Type.Null()])
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Bytes = Type.Integer({ minimum: 0 })
const OpenRow = Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Null()]))
const Ref = Type.String({ pattern: '^[a-z]{20}$' })
const ServiceName = Type.String({ pattern: '^[a-z][a-z0-9-]{0,31}$' })

const Header = Type.Object({
  format: Text,
  version: Type.Integer(),
  id: Text,
  created_at: Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$' }),
  scope: Type.Union([Type.Literal('installation'), Type.Literal('projects')]),
  server_version: Text,
})

const Manifest = Type.Object({
  members: Type.Array(Type.Object({ name: Text, size: Bytes, sha256: Sha256 })),
  projects: Type.Array(
    Type.Object({
      ref: Ref,
      name: Text,
      organisation: Text,
      state: Text,
      services: Type.Array(
        Type.Object({ name: ServiceName, engine: Text, engine_version: NullableText, awake: Type.Boolean(), bytes: Bytes }),
      ),
    }),
  ),
})

const End = Type.Object({ manifest_sha256: Sha256, manifest_hmac: Sha256 })

const Installation = Type.Object({
  root_keys: Type.Array(Text, { minItems: 1 }),
  jwt_secret: Text,
  template_key: Text,
  node_name: Text,
  config: Type.Union([Type.String(), Type.Null()]),
})

const Record = Type.Object({
  ref: Ref,
  name: Text,
  organisation: Type.Object({ name: Text, title: Text }),
  labels: Type.Record(Type.String(), Text),
  services: Type.Array(
    Type.Object({
      name: ServiceName,
      engine: Text,
      spec: Type.Record(Type.String(), Type.Unknown()),
      volume: Text,
      engine_version: NullableText,
      system_version: Type.Union([Type.Integer(), Type.Null()]),
      secrets: Type.Record(Type.String(), Text),
      sha256: Type.Union([Sha256, Type.Null()]),
    }),
    { maxItems: 16 },
  ),
  realm_keys: Type.Array(OpenRow),
  api_keys: Type.Array(OpenRow),
  settings: Type.Array(Type.Object({ section: Text, version: Type.Integer(), value: Type.Unknown() })),
})

export const SHAPES = { header: Header, manifest: Manifest, end: End, installation: Installation, record: Record } as const

/** A text of a member as what it should be; `backup_damaged`. */
export function parsedAs<T>(schema: TSchema, text: string, where: { readonly file: string; readonly member: string }): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw fail('backup_damaged', where, { cause })
  }
  const wrong = wrongWith(schema, value)
  if (wrong) throw fail('backup_damaged', where, { cause: `${wrong.instancePath} ${wrong.message}` })
  return value as T
}

/** What a newer version writes may look different in all but these two. */
export function headerOf(file: string, text: Buffer): HeaderOf {
  const where = { file, member: HEADER }
  const { format, version } = parsedAs<Partial<HeaderOf>>(Type.Object({}), text.toString(), where)
  if (format !== FORMAT) throw fail('backup_foreign', { file, reason: 'it does not say that it is one' })
  if (Number(version) > VERSION) throw fail('backup_newer', { file, version: Number(version), known: VERSION })
  return parsedAs<HeaderOf>(SHAPES.header, text.toString(), where)
}
