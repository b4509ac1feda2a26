import { type Static, type TSchema, Type } from 'typebox'

/** RFC 3339 UTC with milliseconds and `Z`. */
export const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC, milliseconds: 2026-11-23T10:00:00.000Z' })

/** UUIDv7. */
export const Id = Type.String({ format: 'uuid' })

/** A project's ref: 20 letters a–z, never reused. */
export const Ref = Type.String({ pattern: '^[a-z]{20}$', description: "The project's ref: 20 letters, never reused" })

/** Names of organisations and projects: what people and the CLI write. */
export const Name = Type.String({
  pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
  description: 'Lower-case letters, digits and hyphens, 63 at most; begins and ends with a letter or digit',
})

export const LABELS_MAX = 32
export const LabelName = Type.String({ pattern: '^[a-zA-Z0-9._/-]{1,63}$' })

/** Labels: up to 32 of them. */
export const Labels = Type.Record(LabelName, Type.String({ maxLength: 255 }), {
  additionalProperties: false,
  maxProperties: LABELS_MAX,
  description: 'Free names and values, for filters',
})

export const LIMIT_MAX = 200
export const LIMIT_DEFAULT = 50

/** What every list takes. */
export const PageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMIT_MAX, default: LIMIT_DEFAULT })),
  cursor: Type.Optional(Type.String({ maxLength: 512, description: '`next_cursor` of the page before; opaque' })),
}

/** What every list answers. */
export const Page = <T extends TSchema>(item: T) =>
  Type.Object({ items: Type.Array(item), next_cursor: Type.Union([Type.String(), Type.Null()]) })

/** The control API's one error envelope. */
export const ErrorBody = Type.Object({
  code: Type.String(),
  message: Type.String(),
  hint: Type.Optional(Type.String()),
  details: Type.Optional(Type.Unknown()),
  request_id: Type.String(),
})
export type ErrorBody = Static<typeof ErrorBody>
