import { type Static, Type } from 'typebox'
import { Id, Time } from './common.ts'

export const ServiceStatus = Type.Enum(['pending', 'creating', 'asleep', 'waking', 'awake', 'sleeping', 'degraded', 'failed', 'deleted'])

/** How a service came, or comes, to a newer major of its engine. */
export const ServiceUpgrade = Type.Object({
  /** kept: it is done, and the directory of the former major is still there. dropping: a directory is being removed. */
  state: Type.Enum(['wanted', 'running', 'kept', 'failed', 'dropping']),
  from: Type.String(),
  to: Type.String(),
  /** What is being done, or was when it failed. */
  step: Type.Union([Type.String(), Type.Null()]),
  failure: Type.Union([Type.Object({ code: Type.String(), message: Type.String() }), Type.Null()]),
  /** When it was asked for, and when it ended. */
  began_at: Time,
  ended_at: Type.Union([Time, Type.Null()]),
})
export type ServiceUpgrade = Static<typeof ServiceUpgrade>

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
  upgrade: Type.Optional(ServiceUpgrade),
})
export type Service = Static<typeof Service>
