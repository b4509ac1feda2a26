import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { dbOf, leavingAsleep } from '../api/sleep.ts'
import { command } from '../program/command.ts'
import { areMany } from '../program/many.ts'
import { inParallel, workersOf } from '../program/parallel.ts'
import { CliError, stop } from '../terminal/errors.ts'
import { count } from '../terminal/output.ts'
import { moveEngines, tellMoved, wantedEngines } from './upgrade-engines.ts'

interface Options {
  readonly all?: boolean
  readonly org?: string
  readonly label?: string
  readonly engines?: boolean
  readonly parallel: string
}

interface Outcome {
  readonly ref: string
  readonly name: string
  readonly system_version: number | null
  /** Null: it is current. */
  readonly failure: { readonly code: string; readonly message: string } | null
}

/** System schemas are brought forward inside a wake: one that sleeps is woken and put back, a degraded one is tried anew. */
async function bringForward(client: Client, before: Project, note: (text: string) => void): Promise<Outcome> {
  const { ref } = before
  try {
    if (dbOf(before)?.status === 'degraded') await client.request('POST', `/projects/${ref}/sleep`)
    const wake = () => client.request<Project>('POST', `/projects/${ref}/wake`)
    const after = dbOf(await leavingAsleep(client, before, note, wake))
    const { code = 'degraded', message = 'it is degraded' } = after?.detail ?? {}
    const failed = after?.status === 'degraded' || after?.status === 'failed'
    return { ref, name: before.name, system_version: after?.system_version ?? null, failure: failed ? { code, message } : null }
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    const { code, message } = error.shown
    return { ref, name: before.name, system_version: dbOf(before)?.system_version ?? null, failure: { code, message } }
  }
}

export const upgrade = command<Options, [project?: string]>({
  use: 'upgrade [project]',
  says: 'bring the system schemas of projects forward now, not at their next wake; or their PostgreSQL',
  examples: ['sovra upgrade --all --parallel 4', 'sovra upgrade shop', 'sovra upgrade --engines --all'],
  flags: [
    ['--all', 'every project'],
    ['--org <name>', 'every project of this organisation'],
    ['--label <name[=value]>', 'every project with this label'],
    ['--engines', 'the PostgreSQL of the projects: those that are idle take the newer minor now, the others at their next sleep'],
    ['--parallel <n>', 'how many at once', { default: '2' }],
  ],
  more: 'A project that fails stays on its former version, and its neighbours are not touched. Exit code 1 when one failed.',
  async run(context, { all = false, org, label, engines = false, parallel }, given) {
    if (areMany({ all, org, label }) === (given !== undefined))
      throw stop('usage_wrong', {
        reason: 'Say which project, or --all, --org or --label',
        hint: 'sovra upgrade PROJECT, or sovra upgrade --all.',
      })
    const workers = workersOf(parallel)
    const client = await context.client()
    const projects =
      given === undefined ? await client.all<Project>('/projects', { organisation: org, label }) : [await findProject(client, given)]
    const forAll = <R>(work: (project: Project) => Promise<R>): Promise<R[]> =>
      context.spin(`0 of ${projects.length}`, (spinner) =>
        inParallel(projects, workers, work, (n) => spinner.say(`${n} of ${projects.length}`)),
      )
    if (engines) {
      const wanted = await wantedEngines(client)
      const moved = (await forAll((project) => moveEngines(client, project, wanted))).flat()
      return { data: moved, text: tellMoved(moved), exit: moved.some(({ outcome }) => outcome === 'failed') ? 1 : 0 }
    }
    const outcomes = await forAll((project) => bringForward(client, project, context.note))
    const failed = outcomes.filter(({ failure }) => failure !== null)
    const lines = [
      `${count(outcomes.length - failed.length, 'project')} current, ${failed.length} failed.`,
      ...failed.map(({ ref, name, failure }) => `${name} (${ref}): ${failure?.message}`),
    ]
    return { data: outcomes, text: lines.join('\n'), exit: failed.length > 0 ? 1 : 0 }
  },
})
