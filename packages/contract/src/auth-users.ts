import { Type } from 'typebox'
import { USER_BATCH } from './plain.ts'

/** Users of a project on their way in or out, in batches: memory stays small on both sides, and each answer is progress. */

const Anything = Type.Record(Type.String(), Type.Unknown())

/**
 * A user: `id?`, `email?`, `phone?` (one of the two), `password_hash?` (argon2, bcrypt, scrypt, Firebase's scrypt, PBKDF2),
 * `email_confirmed_at?`, `phone_confirmed_at?`, `user_metadata?`, `app_metadata?`, `role?`, `banned_until?`, `created_at?`,
 * `last_sign_in_at?`, `identities?: [{ provider, provider_id, identity_data? }]`. Who is known by id, address or number is left as they are.
 */
export const UserImport = Type.Object(
  {
    dry_run: Type.Optional(Type.Boolean({ description: 'Looks at all of it and writes nothing' })),
    users: Type.Optional(Type.Array(Anything, { maxItems: USER_BATCH })),
    identities: Type.Optional(
      Type.Array(Anything, {
        maxItems: USER_BATCH,
        description: '`{ user_id, provider, provider_id, identity_data? }` of users that are there',
      }),
    ),
  },
  { additionalProperties: false },
)

/** `refused`: which of the batch were not taken, and why. */
export const UserImported = Type.Object({
  created: Type.Integer(),
  skipped: Type.Integer(),
  refused: Type.Array(Type.Object({ index: Type.Integer(), reason: Type.String() })),
})

/** In the form that an import takes; `next`: the cursor of the next batch, null at the end. */
export const UserExport = Type.Object({ users: Type.Array(Anything), next: Type.Union([Type.String(), Type.Null()]) })
