import type { StatementLog as StatementLogSchema } from '@sovrabase/contract/logs'
import { STATEMENT_HOURS } from '@sovrabase/contract/plain'
import type { Static } from 'typebox'
import { findProject } from '../api/find.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { localTime } from '../terminal/output.ts'

type StatementLog = Static<typeof StatementLogSchema>

const UNITS: Readonly<Record<string, number>> = { m: 1 / 60, h: 1 }

/** `2h`, `30m`. */
function hoursOf(text: string): number {
  const [, amount, unit = ''] = /^(\d+)([mh])$/.exec(text) ?? []
  const hours = Number(amount) * (UNITS[unit] ?? Number.NaN)
  if (hours > 0 && hours <= STATEMENT_HOURS) return hours
  throw stop('usage_wrong', { reason: `'${text}' is no time for this`, hint: `Write --for 30m or 2h, at most ${STATEMENT_HOURS}h.` })
}

export const logsStatements = command<{ for?: string }, [project: string, state?: 'on' | 'off']>({
  use: 'statements <project> [state]',
  says: 'log the text of each statement of its database for a while: on, off, or how it stands',
  examples: ['sovra logs statements shop on --for 2h', 'sovra logs shop --follow', 'sovra logs statements shop off'],
  flags: [['--for <time>', `with on: ends by itself then, at most after ${STATEMENT_HOURS}h`]],
  choices: { state: ['on', 'off'] },
  more: `The text of a statement may hold people's data (parameters are never logged), so the switch is in the audit log and ends by itself.
It outlives a sleep and a restart, and wakes nothing.`,
  async run(context, options, given, state) {
    const client = await context.client()
    const { ref, name } = await findProject(client, given)
    const path = `/projects/${ref}/logs/statements`
    const body = options.for === undefined ? {} : { hours: hoursOf(options.for) }
    const found =
      state === 'on'
        ? await client.request<StatementLog>('PUT', path, { body })
        : await client.request<StatementLog>(state === 'off' ? 'DELETE' : 'GET', path)
    const text =
      found.until === null ? `Statements of ${name} are not logged.` : `Statements of ${name} are logged until ${localTime(found.until)}.`
    return { data: found, text }
  },
})
