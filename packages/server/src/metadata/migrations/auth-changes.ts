import { index, type Migration, table } from '../../base/db/schema.ts'

/** What auth learnt later. Shapes: tables.ts. */
export const AUTH_CHANGES: readonly Migration[] = [
  table('auth_saml_sessions', {
    columns: {
      session_id: 'id',
      provider_id: 'id',
      name_id: 'text',
      name_hash: 'hash',
      name_id_format: 'text?',
      name_qualifier: 'text?',
      sp_name_qualifier: 'text?',
      session_index: 'text?',
      created_at: 'millis',
    },
    primary: ['session_id'],
    references: { session_id: 'auth_sessions.id', provider_id: 'auth_sso_providers.id' },
  }),
  index('auth_saml_sessions', ['provider_id', 'name_hash']),
]
