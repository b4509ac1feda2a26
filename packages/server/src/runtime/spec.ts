import { later } from '../base/later.ts'
import type { Engine } from './engine.ts'

type Values = typeof import('typebox/value')

/** A service's whole spec: what is given, above the installation's defaults, above the engine's own. Not checked. */
export const specWith = (engine: Engine, defaults: object | undefined, given: object): unknown =>
  later<Values>('typebox/value').Default(engine.spec, structuredClone({ ...defaults, ...given }))
