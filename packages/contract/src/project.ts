import { type Static, Type } from 'typebox'
import { Id, LabelName, Labels, Name, PageQuery, Ref, Time } from './common.ts'
import { Service } from './service.ts'

export const ProjectState = Type.Union([Type.Literal('active'), Type.Literal('deleted')])

export const Project = Type.Object({
  ref: Ref,
  name: Name,
  organisation: Type.Object({ id: Id, name: Name }),
  region: Type.String(),
  state: ProjectState,
  labels: Labels,
  /** Base URL for `createClient(url, key)`. */
  url: Type.String(),
  /** For supabase-js: by path all projects share an origin, and it derives its storage key from the host. */
  storage_key: Type.String(),
  /** full: an own uid; same-user: all processes under one. */
  isolation: Type.String(),
  services: Type.Array(Service),
  /** Mails to its users that no server takes: `mail_not_configured`. */
  mail_waiting: Type.Optional(Type.Integer()),
  created_at: Time,
  updated_at: Time,
  deleted_at: Type.Union([Time, Type.Null()]),
  /** When a deleted project is physically removed. */
  purge_at: Type.Union([Time, Type.Null()]),
  version: Type.Integer(),
})
export type Project = Static<typeof Project>

/** Engine by name of the service: `{ db: { engine: postgres, … } }`. */
export const ServiceSpecs = Type.Record(
  Type.String({ pattern: '^[a-z][a-z0-9-]{0,31}$' }),
  Type.Object({ engine: Type.String(), driver: Type.Optional(Type.String()) }, { additionalProperties: true }),
  { additionalProperties: false, maxProperties: 16 },
)

export const ProjectCreate = Type.Object(
  {
    name: Name,
    region: Type.Optional(Type.String({ maxLength: 63 })),
    labels: Type.Optional(Labels),
    services: Type.Optional(ServiceSpecs),
    /** Copy of another project: its structure, or with its rows. */
    from: Type.Optional(
      Type.Object(
        {
          project: Ref,
          data: Type.Optional(Type.Boolean({ default: false })),
          at: Type.Optional({ ...Time, description: 'With its rows as they were at this moment: out of its archive' }),
          settings: Type.Optional(Type.Boolean({ default: false, description: 'With its settings and the spec of its services' })),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
)
export type ProjectCreate = Static<typeof ProjectCreate>

export const ProjectPatch = Type.Object(
  {
    name: Type.Optional(Name),
    labels: Type.Optional(
      Type.Record(LabelName, Type.Union([Type.String({ maxLength: 255 }), Type.Null()]), {
        additionalProperties: false,
        maxProperties: 64,
      }),
    ),
  },
  { additionalProperties: false, description: 'A JSON merge patch (RFC 7396)' },
)
export type ProjectPatch = Static<typeof ProjectPatch>

export const ProjectMove = Type.Object(
  { organisation: Type.String({ description: 'Id or name', maxLength: 63 }) },
  { additionalProperties: false },
)

export const ProjectQuery = Type.Object({
  ...PageQuery,
  organisation: Type.Optional(Type.String({ description: 'Id or name', maxLength: 63 })),
  name: Type.Optional(Type.String({ maxLength: 63 })),
  label: Type.Optional(Type.String({ description: '`name` or `name=value`', maxLength: 320 })),
  state: Type.Optional(ProjectState),
  status: Type.Optional(Type.String({ maxLength: 32, description: "Status of the service `db`, as 'awake' or 'asleep'" })),
  sort: Type.Optional(Type.Enum(['name', '-name', 'created_at', '-created_at'], { default: 'name', description: '`-` is descending' })),
})
export type ProjectQuery = Static<typeof ProjectQuery>

export const ApiKey = Type.Object({
  id: Id,
  name: Type.String(),
  kind: Type.Enum(['anon', 'service_role', 'publishable', 'secret']),
  role: Type.String(),
  /** Enough to tell keys apart, never enough to use one. */
  prefix: Type.String(),
  created_at: Time,
  expires_at: Type.Union([Time, Type.Null()]),
  revoked_at: Type.Union([Time, Type.Null()]),
})
export const ApiKeyWithText = Type.Intersect([ApiKey, Type.Object({ key: Type.String() })])
export const ApiKeyCreate = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 63 }), kind: Type.Union([Type.Literal('publishable'), Type.Literal('secret')]) },
  { additionalProperties: false },
)
export const RevealedKeys = Type.Object({
  anon_key: Type.String(),
  service_role_key: Type.String(),
  jwt_secret: Type.String(),
  keys: Type.Array(ApiKeyWithText),
})
export const Connection = Type.Object({
  db_url: Type.String(),
  host: Type.String(),
  port: Type.Integer(),
  user: Type.String(),
  password: Type.String(),
  database: Type.String(),
})
export const SigningKeyAlg = Type.Enum(['ES256', 'RS256', 'EdDSA', 'HS256'])
export const SigningKey = Type.Object({
  kid: Type.String(),
  alg: SigningKeyAlg,
  state: Type.Enum(['next', 'current', 'retired']),
  created_at: Time,
  /** From when on it verifies nothing more. */
  expires_at: Type.Union([Time, Type.Null()]),
})
export const UserTokenCreate = Type.Object(
  {
    sub: Type.String({ format: 'uuid' }),
    for: Type.Optional(Type.String({ default: '1h', pattern: '^[0-9]+(s|m|h|d)$', description: 'How long: 90s, 15m, 1h, 7d at most' })),
    role: Type.Optional(Type.String({ default: 'authenticated', maxLength: 63 })),
    claims: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  },
  { additionalProperties: false },
)
export const UserToken = Type.Object({ token: Type.String(), expires_at: Time })
