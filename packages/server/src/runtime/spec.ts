import { Value } from 'typebox/value'
import type { Engine } from './engine.ts'

/** A service's whole spec: what is given, above the installation's defaults, above the engine's own. Not checked. */
export const specWith = (engine: Engine, defaults: object | undefined, given: object): unknown =>
  Value.Default(engine.spec, structuredClone({ ...defaults, ...given }))
