export type ServiceStatus = 'pending' | 'creating' | 'asleep' | 'waking' | 'awake' | 'sleeping' | 'degraded' | 'failed' | 'deleted'

/** One thing that a project runs, with a spec (wanted) and a status (seen). */
export interface Service<Spec = unknown> {
  readonly id: string
  /** The project's ref. */
  readonly project: string
  /** "db" */
  readonly name: string
  readonly engine: string
  readonly driver: string
  readonly region: string
  readonly node: string | null
  readonly spec: Spec
  readonly specVersion: number
  readonly wanted: 'active' | 'deleted'
  readonly status: ServiceStatus
  /** Opened passwords of the service's own roles: name → text. */
  readonly secrets: Readonly<Record<string, string>>
  /** Service whose volume a new one is copied from (`create --from`); null: the engine's template. */
  readonly source: { service: string; data: boolean } | null
  readonly engineVersion: string | null
  readonly systemVersion: number | null
}
