import type { Project } from '@sovrabase/contract/project'
import { CliError, known } from '../terminal/errors.ts'
import type { Client } from './client.ts'

export const dbOf = ({ services }: Project) => services.find(({ name }) => name === 'db')

/** Somebody may use it by now: then it stays awake. Any other refusal is told; it says nothing against what was done. */
async function sleepAgain(client: Client, { ref, name }: Project, note: (text: string) => void): Promise<void> {
  try {
    await client.request('POST', `/projects/${ref}/sleep`)
  } catch (error) {
    if (error instanceof CliError && error.shown.code === 'project_busy') return
    note(`${name} was not put to sleep again: ${known(error).shown.message}`)
  }
}

/** Runs what wakes a project: one that slept sleeps again afterwards, however that ended. */
export async function leavingAsleep<R>(client: Client, project: Project, note: (text: string) => void, work: () => Promise<R>): Promise<R> {
  try {
    return await work()
  } finally {
    if (dbOf(project)?.status === 'asleep') await sleepAgain(client, project, note)
  }
}
