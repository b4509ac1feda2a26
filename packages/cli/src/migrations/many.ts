import type { Project } from '@sovrabase/contract/project'
import type { Client } from '../api/client.ts'
import { revealConnection } from '../api/find.ts'
import { leavingAsleep } from '../api/sleep.ts'
import { withClient } from '../database/sql.ts'
import type { Result } from '../program/many.ts'
import type { Migration } from './files.ts'
import { bringUp, type Progress, type RunOptions } from './run.ts'

/** What became of one of many projects. */
export interface Outcome extends Progress {
  readonly ref: string
  readonly name: string
  readonly organisation: string
  readonly status: 'current' | 'applied' | 'pending' | 'failed'
  readonly error: Result<Progress>['error']
}

export const statusOf = ({ applied, pending }: Progress) => (applied.length > 0 ? 'applied' : pending.length > 0 ? 'pending' : 'current')

/** Brings one of many up. `applied` is known of one that fails, too: it has those before the file that stopped it. */
export function makeBringUp(client: Client, files: readonly Migration[], options: Omit<RunOptions, 'project'>) {
  const done = new Map<string, string[]>()
  return {
    work(project: Project): Promise<Progress> {
      const { ref, name } = project
      const note = (text: string) => options.note(`${name}: ${text}`)
      const applied: string[] = []
      done.set(ref, applied)
      let current: Migration | undefined
      const begins = (migration: Migration) => {
        if (current) applied.push(current.version)
        current = migration
      }
      return leavingAsleep(client, project, options.note, async () =>
        withClient(await revealConnection(client, ref), note, (session) =>
          bringUp(session, files, { ...options, note, begins, project: name }),
        ),
      )
    },
    outcomeOf({ ref, name, organisation, result, error }: Result<Progress>): Outcome {
      const progress = result ?? { applied: done.get(ref) ?? [], pending: [], warnings: [] }
      return { ref, name, organisation, ...progress, status: result ? statusOf(result) : 'failed', error }
    },
  }
}
