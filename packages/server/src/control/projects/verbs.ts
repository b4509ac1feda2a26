import type { ProjectCreate } from '@sovrabase/contract/project'
import type { Section } from '@sovrabase/contract/settings'
import type { TSchema } from 'typebox'
import { fail } from '../../base/errors.ts'
import { nearest } from '../../base/nearest.ts'
import { wrongWith } from '../../base/schema.ts'
import type { Actor, Change } from '../../metadata/change.ts'
import { readOwnSettings, writeSettings } from '../../metadata/settings.ts'
import { createProjectKeys } from '../../realms/api-keys.ts'
import { planRestore, rangesOf } from '../../runtime/archive/plan.ts'
import type { Engine } from '../../runtime/engine.ts'
import { reconcileJob } from '../../runtime/reconcile.ts'
import type { Service } from '../../runtime/services.ts'
import { specWith } from '../../runtime/spec.ts'
import type { Control } from '../context.ts'
import { type Limits, limitsOf, lowered, refuseOver } from '../organisations/limits.ts'
import { lockOrganisation } from '../organisations/store.ts'
import { countProjects, insertProject, markDeleted, markPurged, markRestored, needProject } from './store.ts'

export const PURGE = 'project.purge'
/** Every project has one PostgreSQL of its own. */
const DATABASE = 'db'
const POSTGRES = 'postgres'

interface Given {
  readonly name: string
  readonly given: Record<string, unknown>
  /** Of the project's organisation. */
  readonly limits: Limits
}

/**
 * What a manifest says of a service above the installation's defaults and its engine's; `engine_unknown`, `driver_unknown`, `spec_invalid`,
 * `over_organisation_limit`.
 */
export function specOf(control: Control, { name, given, limits }: Given): { engine: Engine; driver: string; spec: unknown } {
  const { engine: engineName, driver = control.driver, ...rest } = given
  const engine = control.engines.get(String(engineName))
  if (!engine) throw fail('engine_unknown', { name: String(engineName), known: [...control.engines.keys()].join(', ') })
  if (!control.drivers.has(String(driver)))
    throw fail('driver_unknown', { name: String(driver), known: [...control.drivers.keys()].join(', ') })
  const spec = specWith(engine, lowered(control.specDefaults[engine.name], limits), rest)
  const unknown = strangerIn(engine.spec, rest)
  if (unknown) throw fail('spec_invalid', { name, reason: unknown })
  const wrong = wrongWith(engine.spec, spec)
  if (wrong) throw fail('spec_invalid', { name, reason: `${wrong.instancePath.slice(1).replaceAll('/', '.') || name}: ${wrong.message}` })
  refuseOver(spec, limits)
  return { engine, driver: String(driver), spec }
}

/** What is wanted now must also be able to run: `spec_invalid`. A backup's is taken as it was. */
export function wantedSpecOf(control: Control, wanted: Given): ReturnType<typeof specOf> {
  const made = specOf(control, wanted)
  const reason = made.engine.refuses?.(made.spec)
  if (reason !== undefined) throw fail('spec_invalid', { name: wanted.name, reason })
  return made
}

/** A key that the engine does not know, in words. */
function strangerIn({ properties }: TSchema & { properties?: object }, given: object): string | undefined {
  const known = Object.keys(properties ?? {})
  const stranger = Object.keys(given).find((key) => !known.includes(key))
  return stranger === undefined ? undefined : `${stranger} is not a key of it; the nearest is ${nearest(stranger, known)?.word ?? 'none'}`
}

/** `quota_exceeded`, `not_found`: one more project in the organisation. */
export async function refuseFull(control: Control, change: Change, organisation: string): Promise<void> {
  await lockOrganisation(change.trx, organisation)
  const { projects: limit } = await limitsOf(change.trx, organisation, control.organisationLimits)
  if (limit > 0 && (await countProjects(change.trx, organisation)) >= limit) throw fail('quota_exceeded', { limit })
}

/** The services of a new project: those given, and `db` in any case. */
function servicesOf(control: Control, body: ProjectCreate, limits: Limits) {
  const given: Record<string, Record<string, unknown>> = { [DATABASE]: { engine: POSTGRES }, ...body.services }
  if (given[DATABASE]?.engine !== POSTGRES) throw fail('spec_invalid', { name: DATABASE, reason: "its engine is 'postgres'" })
  return Object.entries(given).map(([name, spec]) => ({ name, ...wantedSpecOf(control, { name, given: spec, limits }) }))
}

/**
 * One transaction: project, keys, services (status `pending`), event, jobs. `name_taken`, `quota_exceeded`, `region_unknown`,
 * `engine_unknown`, `spec_invalid`, `over_organisation_limit`. The caller is authorised for `from` already.
 */
export async function createProject(control: Control, actor: Actor, organisation: string, body: ProjectCreate): Promise<string> {
  const region = body.region ?? control.node.region
  if (region !== control.node.region) throw fail('region_unknown', { name: region, known: control.node.region })
  const source = body.from ? await sourceOf(control, body.from.project) : undefined
  const wanted = source && body.from?.settings ? { ...body, services: { [DATABASE]: likeSource(source), ...body.services } } : body
  const services = servicesOf(control, wanted, await limitsOf(control.db, organisation, control.organisationLimits))
  const at = body.from?.at === undefined ? {} : { at: await momentOf(control, body.from.project, body.from.at) }
  const claimed: string[] = []
  const ref = await control.change(actor, async (change) => {
    claimed.length = 0
    await refuseFull(control, change, organisation)
    const made = await insertProject(change, { organisation, name: body.name, region, labels: body.labels ?? {} }, control.now())
    await createProjectKeys(change, control.vault, made, control.now(), actor.kind === 'system' ? null : actor.id)
    if (body.from?.settings) await copySettings(control, change, body.from.project, made)
    for (const { name, engine, driver, spec } of services) {
      const copied =
        source && name === DATABASE ? { service: source.id, volume: source.volume, data: body.from?.data ?? false, ...at } : null
      const prepared = copied
        ? undefined
        : await control.services.claimPrepared(change.trx, made, name, { engine: engine.name, node: control.node.id, spec })
      if (prepared) {
        claimed.push(prepared)
        await change.event({ name: 'service.ready', subject: prepared, project_ref: made, organisation_id: organisation })
        continue
      }
      const node = control.node.id
      const id = await control.services.insert(change.trx, { project: made, name, engine, driver, region, node, spec, source: copied })
      await change.job(reconcileJob({ id, node }))
    }
    return made
  })
  for (const id of claimed) {
    const service = await control.services.byId(control.db, id)
    if (service) control.connector.claimed(service)
  }
  if (claimed.length > 0) control.prepared.refill()
  return ref
}

/** The spec of a copy that is to be like its source. */
const likeSource = ({ engine, spec }: Service): { engine: string } => ({ ...(spec as object), engine })

/** A copy archives nothing until somebody says so. */
async function copySettings({ vault }: Control, change: Change, from: string, to: string): Promise<void> {
  const { backup: _, ...own } = await readOwnSettings(change.trx, from, vault)
  for (const [section, value] of Object.entries(own)) await writeSettings(change, to, section as Section, value as object, { vault })
}

/** ms; refused before anything is written where the archive does not reach there. `archive_off`, `archive_time_outside`. */
async function momentOf(control: Control, ref: string, text: string): Promise<number> {
  const time = Date.parse(text)
  const store = await control.places.archive(ref)
  const ranges = await rangesOf(store, ref)
  if (ranges.length === 0) throw fail('archive_off', { ref })
  if (time > control.now()) {
    const known = ranges.map(({ from, to }) => `${new Date(from).toISOString()} – ${new Date(to ?? control.now()).toISOString()}`)
    throw fail('archive_time_outside', { time: text, ranges: known.join(', ') })
  }
  await planRestore(store, ref, time)
  return time
}

async function sourceOf(control: Control, ref: string): Promise<Service> {
  const source = await needProject(control.db, ref)
  if (source.state !== 'active') throw fail('project_deleted')
  const service = await control.services.byName(control.db, ref, DATABASE)
  if (!service) throw fail('service_not_found', { name: DATABASE })
  return service
}

/** Stops its services and marks it; physically gone once `keepDeleted` has passed. */
export async function deleteProject(control: Control, actor: Actor, ref: string): Promise<void> {
  const purgeAt = control.now() + control.keepDeleted
  await control.change(actor, async (change) => {
    await markDeleted(change, ref, purgeAt, control.now())
    for (const service of await control.services.list(change.trx, { projects: [ref] })) {
      await control.services.setWanted(change.trx, service.id, 'stopped')
      await change.job(reconcileJob(service))
    }
    await change.job({ kind: PURGE, key: ref, due_at: purgeAt })
  })
}

export async function restoreProject(control: Control, actor: Actor, ref: string, name?: string): Promise<void> {
  await control.change(actor, async (change) => {
    const { organisation_id } = await needProject(change.trx, ref)
    await refuseFull(control, change, organisation_id)
    await markRestored(change, ref, name, control.now())
    for (const service of await control.services.list(change.trx, { projects: [ref] })) {
      await control.services.setWanted(change.trx, service.id, 'active')
      await change.job(reconcileJob(service))
    }
  })
}

/** Removes what is left of a deleted project: its services' data first (jobs of their own), then its keys. Idempotent. */
export async function purgeProject(control: Control, actor: Actor, ref: string, options: { force: boolean }): Promise<void> {
  const project = await control.db.selectFrom('projects').selectAll().where('ref', '=', ref).executeTakeFirst()
  if (!project || project.state === 'purged') return
  const due = project.state === 'deleted' && project.purge_at !== null && project.purge_at <= control.now()
  if (project.state !== 'deleted' || !(due || options.force)) {
    if (options.force) throw fail('project_not_deleted')
    return
  }
  await control.change(actor, async (change) => {
    for (const service of await control.services.list(change.trx, { projects: [ref] })) {
      await control.services.setWanted(change.trx, service.id, 'deleted')
      await change.job(reconcileJob(service))
    }
    for (const table of ['api_keys', 'realm_keys', 'denied_sessions'] as const)
      await change.trx.deleteFrom(table).where('realm', '=', ref).execute()
    await change.trx.deleteFrom('settings').where('scope', '=', ref).execute()
    await change.trx.deleteFrom('memberships').where('project_ref', '=', ref).execute()
    await change.trx.deleteFrom('invitations').where('project_ref', '=', ref).execute()
    await change.trx.deleteFrom('project_due').where('ref', '=', ref).execute()
    await markPurged(change, ref, control.now())
  })
}
