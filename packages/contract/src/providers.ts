import { type Static, Type } from 'typebox'

/** Sign-in by another's account (OAuth 2.0, OpenID Connect): what a project says of each provider. */

const closed = { additionalProperties: false } as const
const line = (maxLength: number, description: string) =>
  Type.Optional(Type.String({ maxLength, pattern: '^[^\\r\\n\\u0000]*$', description }))
const url = (description: string) => Type.Optional(Type.String({ maxLength: 2048, pattern: '^https?://[^\\s]+$', description }))
const secret = () => Type.String({ maxLength: 8192, secret: true, description: 'Stored encrypted, never answered' })

/** Providers by name: one implementation, a preset each. */
export const PROVIDERS = [
  'apple',
  'azure',
  'bitbucket',
  'discord',
  'facebook',
  'figma',
  'fly',
  'franceconnect',
  'github',
  'gitlab',
  'google',
  'kakao',
  'keycloak',
  'linkedin_oidc',
  'notion',
  'proconnect',
  'slack_oidc',
  'spotify',
  'twitch',
  'twitter',
  'workos',
  'zoom',
] as const
export type ProviderName = (typeof PROVIDERS)[number]

const Provider = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean({ description: 'Default: true' })),
    client_id: Type.String({ minLength: 1, maxLength: 1024, pattern: '^[^\\s\\u0000]+$' }),
    secret: Type.Optional(secret()),
    client_ids: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 1024 }), { maxItems: 50, description: 'Further audiences of id_tokens: own apps' }),
    ),
    url: url('Its issuer or address, where it is not the public one: keycloak, a GitLab of one’s own, a tenant of azure'),
    scopes: line(1024, 'Asked for in addition, parted by spaces'),
    email_optional: Type.Optional(Type.Boolean({ description: 'Users may come without an address that the provider has verified' })),
    skip_nonce_check: Type.Optional(Type.Boolean({ description: 'id_tokens are taken whatever their nonce: for SDKs that hide it' })),
  },
  closed,
)

export const Providers = Type.Object(
  Object.fromEntries(PROVIDERS.map((name) => [name, Type.Optional(Provider)])) as Record<
    ProviderName,
    ReturnType<typeof Type.Optional<typeof Provider>>
  >,
  closed,
)

const Texts = (maxItems: number) => Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { maxItems }))

/** A provider of the project's own, as the admin API has it. */
export const CustomProvider = Type.Object(
  {
    id: Type.String(),
    provider_type: Type.Union([Type.Literal('oauth2'), Type.Literal('oidc')]),
    name: Type.String({ minLength: 1, maxLength: 255 }),
    client_id: Type.String({ minLength: 1, maxLength: 1024 }),
    client_secret: secret(),
    acceptable_client_ids: Texts(50),
    scopes: Texts(50),
    custom_claims_allowlist: Texts(50),
    pkce_enabled: Type.Optional(Type.Boolean()),
    attribute_mapping: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 255 }), { maxProperties: 50 })),
    authorization_params: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 1024 }), { maxProperties: 50 })),
    enabled: Type.Optional(Type.Boolean()),
    email_optional: Type.Optional(Type.Boolean()),
    skip_nonce_check: Type.Optional(Type.Boolean()),
    issuer: url('Of an OpenID provider'),
    discovery_url: url('Where its metadata is, if not at /.well-known/openid-configuration'),
    authorization_url: url('OAuth 2.0'),
    token_url: url('OAuth 2.0'),
    userinfo_url: url('OAuth 2.0: answers the account as JSON'),
    jwks_uri: url('OpenID'),
    created_at: Type.String(),
    updated_at: Type.String(),
  },
  closed,
)

export const CustomProviders = Type.Record(Type.String({ pattern: '^custom:[a-z0-9][a-z0-9_-]{0,62}$' }), CustomProvider, {
  maxProperties: 50,
  description: 'Providers of the project’s own: written by /auth/v1/admin/custom-providers',
})

export type ProviderSettings = Static<typeof Provider>
export type CustomProvider = Static<typeof CustomProvider>
