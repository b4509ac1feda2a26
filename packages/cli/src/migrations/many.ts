import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { revealConnection } from '../api/find.ts'
import { leavingAsleep } from '../api/sleep.ts'
import { withClient } from '../database/sql.ts'
import { known } from '../terminal/errors.ts'
import type { Migration } from './files.ts'
import { bringUp, type Progress, type RunOptions } from './run.ts'

/** What became of one of many projects. */
export interface Outcome extends Progress {
  readonly ref: string
  readonly name: string
  readonly organisation: string
  readonly status: 'current' | 'applied' | 'pending' | 'failed'
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string; readonly details?: unknown } | null
}

export const statusOf = ({ applied, pending }: Progress) => (applied.length > 0 ? 'applied' : pending.length > 0 ? 'pending' : 'current')

/** One project of many: a failure is its outcome, and the others go on. One that slept is put to sleep again. */
export async function bringOneUp(
  client: Client,
  project: Project,
  files: readonly Migration[],
  options: Omit<RunOptions, 'project'>,
): Promise<Outcome> {
  const { ref, name, organisation } = project
  const who = { ref, name, organisation: organisation.name }
  const applied: string[] = []
  const note = (text: string) => options.note(`${name}: ${text}`)
  let current: Migration | undefined
  const begins = (migration: Migration) => {
    if (current) applied.push(current.version)
    current = migration
  }
  try {
    const at = await revealConnection(client, ref)
    const progress = await leavingAsleep(client, project, options.note, () =>
      withClient(at, note, (session) => bringUp(session, files, { ...options, note, begins, project: name })),
    )
    return { ...who, ...progress, status: statusOf(progress), error: null }
  } catch (error) {
    const { code, message, hint, details } = known(error).shown
    return {
      ...who,
      applied,
      pending: [],
      warnings: [],
      status: 'failed',
      error: { code, message, ...(hint ? { hint } : {}), ...(details ? { details } : {}) },
    }
  }
}
