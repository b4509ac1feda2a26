import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { dbOf, leavingAsleep } from '../api/sleep.ts'
import { command } from '../program/command.ts'
import { chosen, MANY_FLAGS, MANY_MORE, type ManyOptions, onMany } from '../program/many.ts'
import { CliError, stop } from '../terminal/errors.ts'
import { confirm } from '../terminal/prompt.ts'
import { moveEngines, tellMoved, type Wanted, wantedOf } from './upgrade-engines.ts'
import { endUpgrade } from './upgrade-major.ts'

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

interface Options extends ManyOptions {
  readonly engines?: boolean
  readonly confirm?: boolean
  readonly back?: boolean
  readonly yes?: boolean
}

/** `usage_wrong`: two of them. */
function whatOf({ engines, confirm: confirmed, back }: Options): 'schemas' | 'engines' | 'confirm' | 'back' {
  if ([engines, confirmed, back].filter(Boolean).length > 1)
    throw stop('usage_wrong', { reason: '--engines, --confirm and --back are three things', hint: 'One after the other.' })
  return engines ? 'engines' : confirmed ? 'confirm' : back ? 'back' : 'schemas'
}

export const upgrade = command<Options, [project?: string]>({
  use: 'upgrade [project]',
  says: 'bring the system schemas of projects forward now, not at their next wake; or their PostgreSQL',
  examples: [
    'sovra upgrade --all --parallel 4 --continue-on-error',
    'sovra upgrade shop',
    'sovra upgrade --engines --all',
    'sovra upgrade --confirm shop',
  ],
  flags: [
    [
      '--engines',
      'their PostgreSQL: a newer minor now where idle, else at the next sleep; a newer major now, which stops a project for it',
    ],
    ['--confirm', 'remove what is kept of the former major'],
    ['--back', 'return to the former major and its data of then: what was written since is lost'],
    ['--yes', 'be sure, with --back'],
    ...MANY_FLAGS,
  ],
  more: `A project that fails stays on its former version, and its neighbours are not touched. One that is current is not woken: run it again
to go on where it stopped.
${MANY_MORE}`,
  async run(context, options, given) {
    const what = whatOf(options)
    const client = await context.client()
    const projects = await chosen(client, given, options)
    if (what === 'engines') {
      const wanted = await wantedOf(client)
      const say = (step: string) => given !== undefined && context.note(step)
      return onMany(context, client, projects, options, { work: (project) => moveEngines(client, project, wanted, say), says: tellMoved })
    }
    if (what !== 'schemas') {
      if (what === 'back')
        await confirm('What was written since the upgrade will be lost. Type back to go on: ', 'back', options.yes ?? false)
      const work = (project: Project) => endUpgrade(client, project, what, given !== undefined)
      return onMany(context, client, projects, options, { work, says: (said) => said })
    }
    // Who operates some projects only may not read it: then each is woken.
    const wanted = await wantedOf(client).catch((error: unknown): Wanted => {
      if (error instanceof CliError && error.shown.code === 'administrators_only') return new Map()
      throw error
    })
    return onMany(context, client, projects, options, {
      work: (project) => bringForward(client, project, wanted, context.note),
      says,
    })
  },
})
