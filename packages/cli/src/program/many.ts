/** One command for many projects: which ones, how many at once, what became of each. */
import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { known, stop } from '../terminal/errors.ts'
import { count, table } from '../terminal/output.ts'
import type { Answer, Context, Flag } from './command.ts'
import { inParallel, workersOf } from './parallel.ts'

export interface ManyOptions {
  readonly all?: boolean
  readonly org?: string
  readonly label?: string
  readonly parallel: string
  readonly continueOnError?: boolean
}

export const MANY_FLAGS: readonly Flag[] = [
  ['--all', 'every project that you may know'],
  ['--org <name>', 'every project of this organisation'],
  ['--label <name[=value]>', 'every project with this label'],
  ['--parallel <n>', 'of many: how many at once', { default: '2' }],
  ['--continue-on-error', 'of many: go on with the others when one fails'],
]

export const MANY_MORE = `Of many projects: a table of what became of each, and exit code 1 when one failed. Without --continue-on-error no further one is begun
after a failure; what was not tried says so. Doing it again does no harm where it is done already.`

export const areMany = ({ all, org, label }: Pick<ManyOptions, 'all' | 'org' | 'label'>): boolean =>
  all === true || org !== undefined || label !== undefined

/** The projects that are meant: the one named, or all that the flags say. `usage_wrong`. */
export async function chosen(client: Client, given: string | undefined, options: ManyOptions): Promise<Project[]> {
  const many = areMany(options)
  if (many === (given !== undefined))
    throw stop('usage_wrong', { reason: 'Say which project, or --all, --org or --label', hint: 'One of both, not both.' })
  if (given !== undefined) return [await findProject(client, given)]
  return client.all<Project>('/projects', { organisation: options.org, label: options.label, sort: 'name' })
}

/** What became of one of many. */
export interface Result<T> {
  readonly ref: string
  readonly name: string
  readonly organisation: string
  readonly status: 'done' | 'failed' | 'not tried'
  readonly result: T | null
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string } | null
}

async function attempt<T>(project: Project, work: (project: Project) => Promise<T>): Promise<Result<T>> {
  const { ref, name, organisation } = project
  const who = { ref, name, organisation: organisation.name }
  try {
    return { ...who, status: 'done', result: await work(project), error: null }
  } catch (error) {
    const { code, message, hint } = known(error).shown
    return { ...who, status: 'failed', result: null, error: { code, message, ...(hint ? { hint } : {}) } }
  }
}

/** Runs it on each; `says` is a result in a word for the table. */
export async function onMany<T>(
  context: Context,
  projects: readonly Project[],
  options: ManyOptions,
  work: (project: Project) => Promise<T>,
  says: (result: T) => string = () => '',
): Promise<Answer> {
  let stopped = false
  const results = await context.spin(`0 of ${projects.length}`, (spinner) =>
    inParallel(
      projects,
      workersOf(options.parallel),
      async (project): Promise<Result<T>> => {
        const { ref, name, organisation } = project
        if (stopped) return { ref, name, organisation: organisation.name, status: 'not tried', result: null, error: null }
        const result = await attempt(project, work)
        if (result.status === 'failed' && !options.continueOnError) stopped = true
        return result
      },
      (n) => spinner.say(`${n} of ${projects.length}`),
    ),
  )
  results.sort((a, b) => (a.organisation + a.name < b.organisation + b.name ? -1 : 1))
  const failed = results.filter(({ status }) => status === 'failed').length
  const done = results.filter(({ status }) => status === 'done').length
  const rows = results.map((one) => [
    one.name,
    one.organisation,
    one.ref,
    one.status,
    one.error ? one.error.message : one.result === null ? '' : says(one.result),
  ])
  const left = results.length - failed - done
  const sum = `${count(done, 'project')} done, ${failed} failed${left > 0 ? `, ${left} not tried` : ''}.`
  const text = results.length === 0 ? 'There is no such project.' : `${table(['NAME', 'ORGANISATION', 'REF', 'STATUS', ''], rows)}\n${sum}`
  return { data: results, text, exit: failed > 0 ? 1 : 0 }
}
