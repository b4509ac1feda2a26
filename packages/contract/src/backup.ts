import { type Static, Type } from 'typebox'
import { Time } from './common.ts'

const orNull = <T extends typeof Time>(type: T) => Type.Union([type, Type.Null()])

/** The archive of a project: to which moments it can be brought, and whether its newest changes are safe. */
export const ProjectArchive = Type.Object({
  point_in_time: Type.Boolean(),
  /** `to` null: until now. */
  ranges: Type.Array(Type.Object({ from: Time, to: orNull(Time) })),
  following: Type.Boolean(),
  unstored_since: orNull(Time),
  failed_at: orNull(Time),
  reason: Type.Union([Type.String(), Type.Null()]),
})
export type ProjectArchive = Static<typeof ProjectArchive>
