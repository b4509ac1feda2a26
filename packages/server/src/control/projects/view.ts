import type { Project as ProjectBody } from '@sovrabase/contract/project'
import type { Service as ServiceBody, ServiceUpgrade } from '@sovrabase/contract/service'
import { projectUrl } from '../../gateway/urls.ts'
import { waitingOutboxes } from '../../metadata/outboxes.ts'
import { whyAwake } from '../../runtime/entry.ts'
import type { Service } from '../../runtime/services.ts'
import { type Upgrade, upgradeStore } from '../../runtime/upgrade/store.ts'
import type { Control } from '../context.ts'
import { time, timeOrNull } from '../pages.ts'
import { labelsOf, type Project } from './store.ts'

function upgradeView({ state, from, to, step, failure, beganAt, endedAt }: Upgrade): ServiceUpgrade {
  return { state, from, to, step, failure, began_at: time(beganAt), ended_at: timeOrNull(endedAt) }
}

export function serviceView(control: Control, service: Service, upgrade?: Upgrade): ServiceBody {
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
    ...(upgrade ? { upgrade: upgradeView(upgrade) } : {}),
  }
}

export function projectView(
  control: Control,
  project: Project,
  organisation: { id: string; name: string },
  { services, upgrades = [], mails = 0 }: { services: readonly Service[]; upgrades?: readonly Upgrade[]; mails?: number },
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
    services: services.map((service) =>
      serviceView(
        control,
        service,
        upgrades.find((one) => one.service === service.id),
      ),
    ),
    ...(mails > 0 ? { mail_waiting: mails } : {}),
    created_at: time(project.created_at),
    updated_at: time(project.updated_at),
    deleted_at: timeOrNull(project.deleted_at),
    purge_at: timeOrNull(project.purge_at),
    version: project.version,
  }
}

/** Projects with their organisations and services, in a few reads however many there are. */
export async function projectViews(control: Control, projects: readonly Project[]): Promise<ProjectBody[]> {
  if (projects.length === 0) return []
  const ids = [...new Set(projects.map((project) => project.organisation_id))]
  const [organisations, services, outboxes, upgrades] = await Promise.all([
    control.db.selectFrom('organisations').select(['id', 'name']).where('id', 'in', ids).execute(),
    control.services.list(control.db, { projects: projects.map((project) => project.ref) }),
    waitingOutboxes(control.db),
    upgradeStore.list(control.db),
  ])
  const mails = new Map(outboxes.filter(({ due }) => due === null).map(({ ref, waiting }) => [ref, waiting]))
  const byId = new Map(organisations.map((row) => [row.id, row]))
  const byRef = Map.groupBy(services, (service) => service.project)
  return projects.map((project) =>
    projectView(control, project, byId.get(project.organisation_id) ?? { id: project.organisation_id, name: '' }, {
      services: byRef.get(project.ref) ?? [],
      upgrades,
      mails: mails.get(project.ref) ?? 0,
    }),
  )
}
