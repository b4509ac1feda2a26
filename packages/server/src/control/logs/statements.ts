import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { StatementLog, StatementLogStart } from '@sovrabase/contract/logs'
import { STATEMENT_HOURS } from '@sovrabase/contract/plain'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import type { Queue } from '../../base/jobs.ts'
import { type Actor, SYSTEM } from '../../metadata/change.ts'
import type { Service } from '../../runtime/services.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { needProject } from '../projects/store.ts'

const DATABASE = 'db'
const HOUR = 3_600_000
const Params = Type.Object({ ref: Ref })
const kindOf = (node: string): string => `statement_log/${node}`

/** Tells the service that runs here; one that sleeps is told by its wake. */
async function tell({ connector, services, db, now }: Control, id: string): Promise<void> {
  // A wake under way may have read the former word.
  await connector.entry(id)?.turning?.catch(() => undefined)
  const attachment = connector.entry(id)?.attachment
  if (!attachment?.logStatements) return
  const until = (await services.byId(db, id))?.statementsUntil ?? 0
  await attachment.logStatements(until > now())
}

async function set(control: Control, actor: Actor, service: Service, until: number | null): Promise<void> {
  const before = service.statementsUntil ?? null
  if (before === null && until === null) return
  await control.change(actor, async (c) => {
    await control.services.setStatementsUntil(c.trx, service.id, until)
    const told = { subject: service.id, project_ref: service.project }
    if (until === null) await c.event({ name: 'statement_log.ended', ...told })
    else await c.event({ name: 'statement_log.started', ...told, after: { until: new Date(until).toISOString() } })
    // Also where the next line fails, and at its end: whatever happens to this process.
    await c.job({ kind: kindOf(control.node.id), key: service.id })
  })
  await tell(control, service.id).catch((error: unknown) =>
    control.log.warn({ err: error, service: service.id }, 'could not switch the log of statements: it is tried again'),
  )
}

/** Ends each switch when its time is over, and tries again what could not be told. */
export function handleStatementLogs(control: Control, queue: Queue): void {
  queue.handle(kindOf(control.node.id), {
    // Giving up would leave a switch on record that nothing ends.
    maxAttempts: 1_000,
    async run({ key }) {
      const service = await control.services.byId(control.db, key)
      if (!service) return undefined
      const until = service.statementsUntil ?? null
      if (until !== null && until <= control.now()) await set(control, SYSTEM, service, null)
      await tell(control, key)
      return until !== null && until > control.now() ? { again_at: until } : undefined
    },
  })
}

/** Logs each statement of a project's database for a while: its text holds what people wrote into it, so it is audited and ends by itself. */
export const statementLogRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    async function databaseOf(ref: string): Promise<Service> {
      if ((await needProject(control.db, ref)).state !== 'active') throw fail('project_deleted')
      const service = await control.services.byName(control.db, ref, DATABASE)
      if (!service) throw fail('service_not_found', { name: DATABASE })
      return service
    }
    async function shown(ref: string) {
      const until = (await databaseOf(ref)).statementsUntil ?? 0
      return { until: until > control.now() ? new Date(until).toISOString() : null }
    }

    app.get(
      '/projects/:ref/logs/statements',
      { config: { action: 'project_log:read', resource: 'project' }, schema: { params: Params, response: { 200: StatementLog } } },
      (request) => shown(projectRefOf(request)),
    )
    app.put(
      '/projects/:ref/logs/statements',
      {
        config: { action: 'statement_log:update', resource: 'project' },
        schema: { params: Params, body: StatementLogStart, response: { 200: StatementLog } },
      },
      async (request) => {
        const ref = projectRefOf(request)
        const until = control.now() + Math.round((request.body.hours ?? STATEMENT_HOURS) * HOUR)
        await set(control, actorOf(request), await databaseOf(ref), until)
        return shown(ref)
      },
    )
    app.delete(
      '/projects/:ref/logs/statements',
      { config: { action: 'statement_log:update', resource: 'project' }, schema: { params: Params, response: { 200: StatementLog } } },
      async (request) => {
        const ref = projectRefOf(request)
        await set(control, actorOf(request), await databaseOf(ref), null)
        return shown(ref)
      },
    )
  }
