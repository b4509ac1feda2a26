import type { ProjectQuery } from '@sovrabase/contract/project'
import type { ExpressionBuilder } from 'kysely'
import type { PlatformPrincipal } from '../../gateway/types.ts'
import type { Tables } from '../../metadata/tables.ts'
import type { Control } from '../context.ts'
import { findOrganisation } from '../organisations/store.ts'
import { limitOf, pageOf, positionOf } from '../pages.ts'
import { labelsOf, type Project } from './store.ts'
import { projectViews } from './view.ts'

/** Rows read at once while a label, which no index knows, thins them out. */
const BATCH = 500

type SortColumn = 'name' | 'created_at'

const sortOf = (sort: string): { column: SortColumn; descending: boolean } => ({
  column: sort.replace('-', '') as SortColumn,
  descending: sort.startsWith('-'),
})

/** Those that the caller may know: bound to the organisation, or to the project itself. The database sorts them out: others cost nothing. */
function known(caller: PlatformPrincipal) {
  const whole = caller.memberships.filter(({ project }) => project === null).map(({ organisation }) => organisation)
  const single = caller.memberships.filter(({ project }) => project !== null)
  return (eb: ExpressionBuilder<Tables, 'projects'>) =>
    eb.or([
      eb('projects.organisation_id', 'in', ['', ...whole]),
      ...single.map(({ organisation, project }) =>
        eb.and([eb('projects.ref', '=', project ?? ''), eb('projects.organisation_id', '=', organisation)]),
      ),
    ])
}

function hasLabel(project: Project, label: string): boolean {
  const [name = '', value] = label.split(/=(.*)/s)
  const labels = labelsOf(project)
  return Object.hasOwn(labels, name) && (value === undefined || labels[name] === value)
}

async function readBatch(
  control: Control,
  caller: PlatformPrincipal,
  query: ProjectQuery,
  organisation: string | undefined,
  after: readonly (string | number)[] | undefined,
  rows: number,
) {
  const { column, descending } = sortOf(String(query.sort ?? 'name'))
  const direction = descending ? 'desc' : 'asc'
  const beyond = descending ? '<' : '>'
  let select = control.db
    .selectFrom('projects')
    .selectAll()
    .where('projects.state', '=', String(query.state ?? 'active'))
  if (caller.kind !== 'local') select = select.where(known(caller))
  if (organisation !== undefined) select = select.where('organisation_id', '=', organisation)
  if (query.name !== undefined) select = select.where('projects.name', '=', query.name)
  if (query.status !== undefined) {
    const { status } = query
    select = select.where((eb) =>
      eb.exists(
        eb
          .selectFrom('services')
          .select('services.id')
          .whereRef('services.project_ref', '=', 'projects.ref')
          .where('services.status', '=', status),
      ),
    )
  }
  if (after) {
    const [value, ref] = after
    select = select.where((eb) =>
      eb.or([
        eb(`projects.${column}`, beyond, value as never),
        eb.and([eb(`projects.${column}`, '=', value as never), eb('projects.ref', beyond, String(ref))]),
      ]),
    )
  }
  return select.orderBy(`projects.${column}`, direction).orderBy('projects.ref', direction).limit(rows).execute()
}

export async function listProjects(control: Control, caller: PlatformPrincipal, query: ProjectQuery, inOrganisation?: string) {
  const limit = limitOf(query)
  const column = sortOf(String(query.sort ?? 'name')).column
  let organisation = inOrganisation
  if (organisation === undefined && query.organisation !== undefined)
    organisation = (await findOrganisation(control.db, query.organisation))?.id ?? ''
  const rows = query.label === undefined ? limit + 1 : BATCH
  const found: Project[] = []
  let after = positionOf(query, [column === 'name' ? 'string' : 'number', 'string'])
  while (found.length <= limit) {
    const batch = await readBatch(control, caller, query, organisation, after, rows)
    found.push(...batch.filter((row) => query.label === undefined || hasLabel(row, query.label)))
    const last = batch.at(-1)
    if (batch.length < rows || !last) break
    after = [last[column], last.ref]
  }
  const page = pageOf(
    found.slice(0, limit + 1),
    limit,
    (row) => [row[column], row.ref],
    (row) => row,
  )
  return { items: await projectViews(control, page.items), next_cursor: page.next_cursor }
}
