import type { Project as ProjectBody } from '@sovrabase/contract/project'
import type { Service as ServiceBody } from '@sovrabase/contract/service'
import { projectUrl } from '../../gateway/urls.ts'
import { waitingOutboxes } from '../../metadata/outboxes.ts'
import { whyAwake } from '../../runtime/entry.ts'
import type { Service } from '../../runtime/services.ts'
import type { Control } from '../context.ts'
import { time, timeOrNull } from '../pages.ts'
import { labelsOf, type Project } from './store.ts'

export function serviceView(control: Control, service: Service): ServiceBody {
  const entry = control.connector.entry(service.id)
  const spec = service.spec as { sleep_after?: number }
  const awake = entry ? whyAwake(entry, control.sleepAfter(spec), control.now()) : []
  const { since, ...detail } = service.detail
  // What this node runs it knows better than the row that it wrote a moment ago.
  const status =
    entry && service.status !== 'degraded' && service.status !== 'failed' && service.status !== 'pending' ? entry.state : service.status
  return {
    id: service.id,
    name: service.name,
    engine: service.engine,
    driver: service.driver,
    region: service.region,
    node: service.node,
    spec: service.spec,
    status,
    detail: { ...detail, ...(since === undefined ? {} : { since: time(since) }) },
    awake_because: awake,
    engine_version: service.engineVersion,
    system_version: service.systemVersion,
  }
}

export function projectView(
  control: Control,
  project: Project,
  organisation: { id: string; name: string },
  services: readonly Service[],
  mails = 0,
): ProjectBody {
  return {
    ref: project.ref,
    name: project.name,
    organisation,
    region: project.region,
    state: project.state as ProjectBody['state'],
    labels: labelsOf(project),
    url: projectUrl(control.addressing, project.ref),
    storage_key: `sb-${project.ref}-auth-token`,
    isolation: control.drivers.get(services[0]?.driver ?? control.driver)?.isolation ?? 'same-user',
    services: services.map((service) => serviceView(control, service)),
    ...(mails > 0 ? { mail_waiting: mails } : {}),
    created_at: time(project.created_at),
    updated_at: time(project.updated_at),
    deleted_at: timeOrNull(project.deleted_at),
    purge_at: timeOrNull(project.purge_at),
    version: project.version,
  }
}

/** Projects with their organisations and services, in three reads however many there are. */
export async function projectViews(control: Control, projects: readonly Project[]): Promise<ProjectBody[]> {
  if (projects.length === 0) return []
  const ids = [...new Set(projects.map((project) => project.organisation_id))]
  const [organisations, services, outboxes] = await Promise.all([
    control.db.selectFrom('organisations').select(['id', 'name']).where('id', 'in', ids).execute(),
    control.services.list(control.db, { projects: projects.map((project) => project.ref) }),
    waitingOutboxes(control.db),
  ])
  const mails = new Map(outboxes.filter(({ due }) => due === null).map(({ ref, waiting }) => [ref, waiting]))
  const byId = new Map(organisations.map((row) => [row.id, row]))
  const byRef = Map.groupBy(services, (service) => service.project)
  return projects.map((project) =>
    projectView(
      control,
      project,
      byId.get(project.organisation_id) ?? { id: project.organisation_id, name: '' },
      byRef.get(project.ref) ?? [],
      mails.get(project.ref),
    ),
  )
}
