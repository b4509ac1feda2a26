import type { Service } from './services.ts'

/** A row of `services` as the store would answer it: new, and not looked at yet. */
export const testService = <Spec>(id: string, more: Partial<Service<Spec>> & Pick<Service<Spec>, 'engine' | 'driver'>): Service<Spec> => ({
  id,
  project: id,
  name: 'db',
  volume: `v-${id}`,
  region: 'local',
  node: 'n',
  spec: {} as Spec,
  specVersion: 1,
  observedVersion: 0,
  wanted: 'active',
  status: 'pending',
  detail: {},
  secrets: {},
  source: null,
  engineVersion: null,
  systemVersion: null,
  ...more,
})
