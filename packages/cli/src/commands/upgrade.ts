import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { dbOf, leavingAsleep } from '../api/sleep.ts'
import { command } from '../program/command.ts'
import { chosen, MANY_FLAGS, MANY_MORE, type ManyOptions, onMany } from '../program/many.ts'
import { CliError } from '../terminal/errors.ts'
import { moveEngines, tellMoved, type Wanted, wantedOf } from './upgrade-engines.ts'

interface Upgraded {
  readonly system_version: number | null
  /** Before this. */
  readonly was: number | null
}

/** System schemas are brought forward inside a wake: one that sleeps is woken and put back, a degraded one is tried anew. */
async function bringForward(client: Client, project: Project, wanted: Wanted, note: (text: string) => void): Promise<Upgraded> {
  const { ref } = project
  const before = dbOf(project)
  const was = before?.system_version ?? null
  const troubled = before?.status === 'degraded' || before?.status === 'failed'
  const newest = wanted.get(before?.engine ?? '')?.system
  // Nobody is woken for nothing, so that this may be run again at will.
  if (!troubled && was !== null && was === newest) return { system_version: was, was }
  if (before?.status === 'degraded') await client.request('POST', `/projects/${ref}/sleep`)
  const wake = () => client.request<Project>('POST', `/projects/${ref}/wake`)
  const after = dbOf(await leavingAsleep(client, project, note, wake))
  if (after?.status === 'degraded' || after?.status === 'failed') {
    const { code = 'degraded', message = 'it is degraded' } = after.detail
    throw new CliError({ code, message, details: { system_version: after.system_version } }, 409)
  }
  return { system_version: after?.system_version ?? null, was }
}

const says = ({ system_version, was }: Upgraded): string =>
  was === system_version ? `current (${system_version})` : `${was ?? 'new'} → ${system_version}`

export const upgrade = command<ManyOptions & { readonly engines?: boolean }, [project?: string]>({
  use: 'upgrade [project]',
  says: 'bring the system schemas of projects forward now, not at their next wake; or their PostgreSQL',
  examples: ['sovra upgrade --all --parallel 4 --continue-on-error', 'sovra upgrade shop', 'sovra upgrade --engines --all'],
  flags: [
    ['--engines', 'the PostgreSQL of the projects: those that are idle take the newer minor now, the others at their next sleep'],
    ...MANY_FLAGS,
  ],
  more: `A project that fails stays on its former version, and its neighbours are not touched. One that is current is not woken: run it again
to go on where it stopped.
${MANY_MORE}`,
  async run(context, options, given) {
    const client = await context.client()
    const projects = await chosen(client, given, options)
    if (options.engines) {
      const wanted = await wantedOf(client)
      return onMany(context, client, projects, options, { work: (project) => moveEngines(client, project, wanted), says: tellMoved })
    }
    // Who operates some projects only may not read it: then each is woken.
    const wanted = await wantedOf(client).catch((error: unknown): Wanted => {
      if (error instanceof CliError && error.shown.code === 'forbidden') return new Map()
      throw error
    })
    return onMany(context, client, projects, options, {
      work: (project) => bringForward(client, project, wanted, context.note),
      says,
    })
  },
})
