/** One command for many projects: which ones, how many at once, what became of each. */
import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { known, stop } from '../terminal/errors.ts'
import { count, table } from '../terminal/output.ts'
import type { Answer, Context, Flag } from './command.ts'
import { inParallel, workersOf } from './parallel.ts'
import { type Mark, openRecord, type RunOptions, type RunRecord } from './record.ts'

export interface ManyOptions extends RunOptions {
  readonly all?: boolean
  readonly org?: string
  readonly label?: string
  readonly parallel: string
  readonly continueOnError?: boolean
}

export const WHICH_FLAGS: readonly Flag[] = [
  ['--all', 'every project that you may know'],
  ['--org <name>', 'every project of this organisation'],
  ['--label <name[=value]>', 'every project with this label'],
]

export const MANY_FLAGS: readonly Flag[] = [
  ...WHICH_FLAGS,
  ['--parallel <n>', 'of many: how many at once', { default: '2' }],
  ['--continue-on-error', 'of many: go on with the others when one fails'],
]

export const MANY_MORE = `Of many projects: a table of what became of each, and exit code 1 when one failed. Without --continue-on-error no further one is begun
after a failure; what was not tried says so. One that slept sleeps again afterwards.`

/** Of commands that must not be done twice. */
export const RUN_FLAGS: readonly Flag[] = [
  ['--resume', 'of many: go on with an unfinished run although it is more than a day old'],
  ['--anew', 'of many: forget an unfinished run and begin with the first project'],
]

export const RUN_MORE = `${MANY_MORE} What is done is recorded on this machine until all of it is: the same command, run
again after it was interrupted or failed in some, goes on with those that are left and does nothing twice.`

type Which = Pick<ManyOptions, 'all' | 'org' | 'label'>

export const areMany = ({ all, org, label }: Which): boolean => all === true || org !== undefined || label !== undefined

/** One project, or flags for many: one of both, or `usage_wrong`. */
export function needOne(given: string | undefined, options: Which): void {
  if (areMany(options) === (given !== undefined))
    throw stop('usage_wrong', { reason: 'Say which project, or --all, --org or --label', hint: 'One of both, not both.' })
}

/** The projects that are meant: the one named, or all that the flags say. `usage_wrong`. */
export async function chosen(client: Client, given: string | undefined, options: Which): Promise<Project[]> {
  needOne(given, options)
  if (given !== undefined) return [await findProject(client, given)]
  return client.all<Project>('/projects', { organisation: options.org, label: options.label, sort: 'name' })
}

/** What became of one of many. */
export interface Result<T> {
  readonly ref: string
  readonly name: string
  readonly organisation: string
  /** `done before`: by an earlier attempt at this run. */
  readonly status: 'done' | 'done before' | 'failed' | 'not tried'
  readonly result: T | null
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string; readonly details?: unknown } | null
}

/** The project's part in the record of the run. */
export interface Step {
  /** The same over all attempts: an Idempotency-Key. */
  readonly key: string
  /** What an earlier attempt noted last. */
  readonly before: Mark | undefined
  mark(text: string): void
  /** It may as well be done again: it is not recorded as done. */
  harmless(): void
}

/** For `work`: an earlier attempt has done it, as only now is known. */
export const DONE_BEFORE = Symbol('done before')

export interface Many<T> {
  /** Doing it twice does harm: all that makes it this command and no other. */
  readonly recorded?: unknown
  readonly work: (project: Project, step: Step) => Promise<T | typeof DONE_BEFORE>
  /** What is to be said of one that is done before. */
  readonly again?: (project: Project) => Promise<T>
  /** A result in a few words, for the table. */
  readonly says?: (result: T) => string
}

const whoOf = ({ ref, name, organisation }: Project) => ({ ref, name, organisation: organisation.name })

async function take<T>(
  project: Project,
  { work, again }: Many<T>,
  record: RunRecord | null,
): Promise<Pick<Result<T>, 'status' | 'result'>> {
  const doneBefore = async () => ({ status: 'done before' as const, result: (await again?.(project)) ?? null })
  const { ref } = project
  const before = record?.last(ref)
  if (before?.text === 'done') return doneBefore()
  let counts = true
  const mark = (text: string) => record?.mark(ref, text)
  const result = await work(project, { key: `${record?.id}.${ref}`, before, mark, harmless: () => (counts = false) })
  if (counts) mark('done')
  return result === DONE_BEFORE ? doneBefore() : { status: 'done', result }
}

async function attempt<T>(project: Project, many: Many<T>, record: RunRecord | null): Promise<Result<T>> {
  const who = whoOf(project)
  try {
    return { ...who, ...(await take(project, many, record)), error: null }
  } catch (error) {
    const { code, message, hint, details } = known(error).shown
    const shown = { code, message, ...(hint ? { hint } : {}), ...(details === undefined ? {} : { details }) }
    return { ...who, status: 'failed', result: null, error: shown }
  }
}

const isDone = ({ status }: Result<unknown>): boolean => status.startsWith('done')

/** Runs it on each, so many at once; what became of them in the order of their names. */
export async function eachOf<T>(
  context: Context,
  projects: readonly Project[],
  options: Pick<ManyOptions, 'parallel' | 'continueOnError'>,
  many: Many<T>,
  record: RunRecord | null = null,
): Promise<Result<T>[]> {
  let stopped = false
  const one = async (project: Project): Promise<Result<T>> => {
    if (stopped) return { ...whoOf(project), status: 'not tried', result: null, error: null }
    const result = await attempt(project, many, record)
    if (result.status === 'failed' && !options.continueOnError) stopped = true
    return result
  }
  const results = await context.spin(`0 of ${projects.length}`, (spinner) =>
    inParallel(projects, workersOf(options.parallel), one, (n) => spinner.say(`${n} of ${projects.length}`)),
  )
  return results.toSorted((a, b) => (a.organisation + a.name < b.organisation + b.name ? -1 : 1))
}

async function recordedly<T>(context: Context, server: string, projects: readonly Project[], options: ManyOptions, many: Many<T>) {
  const { all, org, label } = options
  const record = openRecord({ server, all, org, label, what: many.recorded }, options)
  try {
    if (record.since !== null) context.note(`Goes on with the run of ${record.since}; --anew begins from the start.`)
    const results = await eachOf(context, projects, options, many, record)
    if (results.every(isDone)) record.finish()
    return results
  } finally {
    record.close()
  }
}

function manyText<T>(results: readonly Result<T>[], says: (result: T) => string): string {
  if (results.length === 0) return 'There is no such project.'
  const rows = results.map(({ name, organisation, ref, status, error, result }) => {
    return [name, organisation, ref, status, error ? error.message : result === null ? '' : says(result)]
  })
  const of = (status: Result<T>['status']) => results.filter((one) => one.status === status).length
  const [before, left] = [of('done before'), of('not tried')]
  const parts = [
    `${count(of('done'), 'project')} done`,
    ...(before > 0 ? [`${before} done before`] : []),
    `${of('failed')} failed`,
    ...(left > 0 ? [`${left} not tried`] : []),
  ]
  return `${table(['NAME', 'ORGANISATION', 'REF', 'STATUS', ''], rows)}\n${parts.join(', ')}.`
}

/** The whole answer of a command over many. */
export async function onMany<T>(
  context: Context,
  client: Client,
  projects: readonly Project[],
  options: ManyOptions,
  many: Many<T>,
): Promise<Answer> {
  const results =
    many.recorded === undefined
      ? await eachOf(context, projects, options, many)
      : await recordedly(context, client.url, projects, options, many)
  const failed = results.some(({ status }) => status === 'failed')
  return { data: results, text: manyText(results, many.says ?? (() => '')), exit: failed ? 1 : 0 }
}
