import type { Project } from '@sovrabase/contract/project'
import type { Service } from '@sovrabase/contract/service'
import type { Client } from '../api/client.ts'
import { CliError } from '../terminal/errors.ts'
import { isOlderMajor, moveMajor } from './upgrade-major.ts'

interface Status {
  readonly engines: readonly { readonly name: string; readonly version: string | null; readonly system_version: number | null }[]
}

/** What the next wake of a service brings, by the name of its engine. */
export type Wanted = ReadonlyMap<string, { readonly version: string | null; readonly system: number | null }>

/**
 * current: it has the version. moved: it slept for a moment, its next wake has it. asleep: its next wake has it. busy: it is used, and is moved
 * at its next sleep. upgraded: it was brought to a newer major.
 */
type Outcome = 'current' | 'moved' | 'asleep' | 'busy' | 'upgraded'

export interface Moved {
  readonly service: string
  readonly engine: string
  /** What it ran last. */
  readonly version: string | null
  /** What it runs from its next wake on. */
  readonly wanted: string | null
  readonly outcome: Outcome
}

/** What the server's programs are now: a takeover may have brought newer ones while clusters went on with the former. */
export async function wantedOf(client: Client): Promise<Wanted> {
  const { engines } = await client.request<Status>('GET', '/status')
  return new Map(engines.map(({ name, version, system_version: system }) => [name, { version, system }]))
}

async function sleep(client: Client, ref: string): Promise<Outcome> {
  try {
    await client.request<Project>('POST', `/projects/${ref}/sleep`)
    return 'moved'
  } catch (error) {
    if (error instanceof CliError && error.shown.code === 'project_busy') return 'busy'
    throw error
  }
}

/**
 * The newer minor of PostgreSQL comes with the next start of a cluster: one that is awake and idle is put to sleep for it. A newer major is another data
 * directory: the project is stopped until it is made. `say` hears what is being done.
 */
export function moveEngines(client: Client, { ref, services }: Project, known: Wanted, say: (step: string) => void): Promise<Moved[]> {
  let slept: Promise<Outcome> | undefined
  const move = async (service: Service): Promise<Moved> => {
    const { engine, engine_version: version, status } = service
    const wanted = known.get(engine)?.version ?? null
    const said = { service: service.name, engine, version, wanted }
    if (wanted === null || version === wanted) return { ...said, outcome: 'current' }
    if (isOlderMajor(version, wanted)) {
      await moveMajor(client, ref, service, say)
      return { ...said, outcome: 'upgraded' }
    }
    if (status !== 'awake' && status !== 'degraded') return { ...said, outcome: 'asleep' }
    slept ??= sleep(client, ref)
    return { ...said, outcome: await slept }
  }
  return Promise.all(services.map(move))
}

const SAYS: Readonly<Record<Outcome, (moved: Moved) => string>> = {
  current: ({ version }) => `current (${version ?? 'never started'})`,
  moved: ({ version, wanted }) => `${version} → ${wanted}`,
  asleep: ({ version, wanted }) => `${version ?? 'new'} → ${wanted} at its next wake`,
  upgraded: ({ version, wanted }) => `${version} → ${wanted}; the former directory is kept: sovra upgrade --confirm, or --back`,
  busy: ({ version, wanted }) => `in use with ${version}; ${wanted} after its next sleep`,
}

export const tellMoved = (moved: readonly Moved[]): string => moved.map((one) => SAYS[one.outcome](one)).join('; ')
