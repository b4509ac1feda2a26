import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import { ChangeAnswer, ChangeOrder } from '@sovrabase/contract/database'
import { splitStatements } from '@sovrabase/contract/statements'
import { Type } from 'typebox'
import { sha256 } from '../../../base/crypto.ts'
import { fail } from '../../../base/errors.ts'
import { wrongWith } from '../../../base/schema.ts'
import { actorOf, projectRefOf } from '../../actor.ts'
import type { Control } from '../../context.ts'
import { living } from '../../keys/living.ts'
import { Portal } from '../portal.ts'
import { type Session, told, withSession } from '../session.ts'
import { CODE } from './code.ts'
import type { Operation } from './operation.ts'
import { RIGHTS } from './rights.ts'
import { TABLES } from './tables.ts'

const OPERATIONS: Readonly<Record<string, Operation>> = { ...TABLES, ...CODE, ...RIGHTS }

/** A change waits so long for a lock: whoever comes after it waits too. */
const SETTINGS = `set lock_timeout = '10s'; set statement_timeout = '5min'; set client_min_messages = warning`

type Change = ChangeOrder['changes'][number]

/** The statements of one change; `invalid_request` names what does not fit. */
function statementsOf(change: Change, index: number): string[] {
  const operation = Object.hasOwn(OPERATIONS, change.op) ? OPERATIONS[change.op] : undefined
  const at = `changes[${index}]`
  if (!operation) throw fail('invalid_request', { reason: `\`${at}.op\` is none of ${Object.keys(OPERATIONS).join(', ')}` })
  const error = wrongWith(operation.schema, change)
  if (error) throw fail('invalid_request', { reason: `\`${at}${error.instancePath.replaceAll('/', '.')}\` ${error.message}` })
  const statements = operation.sql(change as never)
  if (statements.length === 0) throw fail('invalid_request', { reason: `\`${at}\` changes nothing` })
  // A fragment that ends its statement would be another change than the one that is recorded.
  if (statements.some((text) => splitStatements(text).length !== 1))
    throw fail('invalid_request', { reason: `a piece of SQL in \`${at}\` is more than one statement` })
  return [...statements]
}

/** By the extended protocol, which takes one statement only. */
async function run(session: Session, text: string, change: number): Promise<void> {
  const portal = new Portal(text, [], 0)
  session.client.query(portal)
  try {
    await portal.batch
  } catch (error) {
    throw told(error, { sql: text, start: 0, statement: change })
  }
}

/** Changes of the schema as JSON. */
export const changeRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.post(
      '/projects/:ref/database/changes',
      {
        config: { action: 'database:execute', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), body: ChangeOrder, response: { 200: ChangeAnswer } },
      },
      async (request) => {
        const ref = await living(control, projectRefOf(request))
        const { changes, dry_run = false } = request.body
        const parts = changes.map(statementsOf)
        const sql = parts.flat().map((text) => `${text};`)
        if (dry_run) return { sql, applied: false }
        await withSession(control, ref, { reason: 'changes' }, async (session) => {
          await session.query(`${SETTINGS}; begin`)
          for (const [change, statements] of parts.entries()) for (const text of statements) await run(session, text, change)
          // Before it is kept: a change that is not recorded must not be there.
          await control.change(actorOf(request), (c) =>
            c.event({
              ...{ name: 'database.changed', subject: ref, project_ref: ref },
              after: {
                operations: changes.map(({ op, schema, table, name }) => [op, schema, table, name].filter(Boolean).join(' ')),
                sha256: sha256(sql.join('\n')),
              },
            }),
          )
          await session.query('commit')
        })
        return { sql, applied: true }
      },
    )
  }
