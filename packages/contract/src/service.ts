import { type Static, Type } from 'typebox'
import { Id, Time } from './common.ts'

export const ServiceStatus = Type.Enum(['pending', 'creating', 'asleep', 'waking', 'awake', 'sleeping', 'degraded', 'failed', 'deleted'])

/** One thing that a project runs: spec is wanted, status is seen. */
export const Service = Type.Object({
  id: Id,
  name: Type.String(),
  engine: Type.String(),
  driver: Type.String(),
  region: Type.String(),
  node: Type.Union([Type.String(), Type.Null()]),
  spec: Type.Unknown(),
  status: ServiceStatus,
  detail: Type.Object({
    code: Type.Optional(Type.String()),
    message: Type.Optional(Type.String()),
    since: Type.Optional(Time),
  }),
  /** Why it is awake; empty when it is not. */
  awake_because: Type.Array(Type.String()),
  engine_version: Type.Union([Type.String(), Type.Null()]),
  system_version: Type.Union([Type.Integer(), Type.Null()]),
})
export type Service = Static<typeof Service>
