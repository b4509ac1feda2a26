import { Type } from 'typebox'
import { Id, Ref, Time } from './common.ts'

export const Role = Type.Enum(['owner', 'admin', 'developer', 'viewer', 'billing'])

/** One binding of a person to an organisation, or to one project of it. */
export const Member = Type.Object({
  id: Id,
  user: Type.Object({ id: Id, email: Type.Union([Type.String(), Type.Null()]) }),
  /** null: the whole organisation. */
  project: Type.Union([Ref, Type.Null()]),
  role: Type.String(),
  created_at: Time,
})

export const InvitationCreate = Type.Object(
  { role: Role, email: Type.Optional(Type.String({ format: 'email', maxLength: 255 })), project: Type.Optional(Ref) },
  { additionalProperties: false },
)

export const Invitation = Type.Object({
  id: Id,
  role: Type.String(),
  email: Type.Union([Type.String(), Type.Null()]),
  project: Type.Union([Ref, Type.Null()]),
  created_at: Time,
  expires_at: Time,
})

/** The link is told once. */
export const InvitationWithLink = Type.Intersect([Invitation, Type.Object({ url: Type.String() })])
