import type { Project } from '@sovrabase/contract/project'
import type { Service } from '@sovrabase/contract/service'
import type { Client } from '../api/client.ts'
import { CliError } from '../terminal/errors.ts'
import { count } from '../terminal/output.ts'

interface Status {
  readonly engines: readonly { readonly name: string; readonly version: string | null }[]
}

/**
 * current: it has the version. moved: it slept for a moment, its next wake has it. asleep: its next wake has it. busy: it is used, and is moved
 * at its next sleep.
 */
type Outcome = 'current' | 'moved' | 'asleep' | 'busy' | 'failed'

export interface Moved {
  readonly ref: string
  readonly name: string
  readonly service: string
  readonly engine: string
  /** What it ran last. */
  readonly version: string | null
  /** What it runs from its next wake on. */
  readonly wanted: string | null
  readonly outcome: Outcome
  readonly failure: { readonly code: string; readonly message: string } | null
}

/** What the server's programs are now: a takeover may have brought newer ones while clusters went on with the former. */
export async function wantedEngines(client: Client): Promise<ReadonlyMap<string, string | null>> {
  const { engines } = await client.request<Status>('GET', '/status')
  return new Map(engines.map(({ name, version }) => [name, version]))
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

/** The newer minor of PostgreSQL comes with the next start of a cluster: one that is awake and idle is put to sleep for it. */
export async function moveEngines(client: Client, project: Project, wanted: ReadonlyMap<string, string | null>): Promise<Moved[]> {
  const { ref, name } = project
  let slept: Promise<Outcome> | undefined
  const move = async (service: Service): Promise<Moved> => {
    const { engine, engine_version: version, status } = service
    const said = { ref, name, service: service.name, engine, version, wanted: wanted.get(engine) ?? null }
    if (said.wanted === null || version === said.wanted) return { ...said, outcome: 'current', failure: null }
    if (status !== 'awake' && status !== 'degraded') return { ...said, outcome: 'asleep', failure: null }
    try {
      slept ??= sleep(client, ref)
      return { ...said, outcome: await slept, failure: null }
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      return { ...said, outcome: 'failed', failure: { code: error.shown.code, message: error.shown.message } }
    }
  }
  return Promise.all(project.services.map(move))
}

export function tellMoved(moved: readonly Moved[]): string {
  const of = (outcome: Outcome) => moved.filter((one) => one.outcome === outcome)
  const waiting = of('asleep').length + of('moved').length
  return [
    `${count(of('current').length, 'service')} current; ${waiting} have the newer version from their next wake on.`,
    ...of('busy').map(
      ({ name, ref, version, wanted }) => `${name} (${ref}): in use, goes on with ${version}; ${wanted} comes after its next sleep`,
    ),
    ...of('failed').map(({ name, ref, failure }) => `${name} (${ref}): ${failure?.message}`),
  ].join('\n')
}
