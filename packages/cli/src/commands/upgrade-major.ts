import { setTimeout as pause } from 'node:timers/promises'
import type { Project } from '@sovrabase/contract/project'
import type { Service } from '@sovrabase/contract/service'
import type { Client } from '../api/client.ts'
import { CliError } from '../terminal/errors.ts'

/** ms between two looks; after a minute they are fewer. */
const LOOK = 500
const SOON = 60_000

const majorOf = (version: string): number => Number.parseInt(version, 10)
export const isOlderMajor = (version: string | null, wanted: string | null): boolean =>
  version !== null && wanted !== null && majorOf(version) < majorOf(wanted)

/** Asks for it (one that is under way already is waited for) and waits for its end; `say` hears the steps. */
export async function moveMajor(client: Client, ref: string, service: Service, say: (step: string) => void): Promise<void> {
  let project: Project | undefined
  try {
    project = await client.request<Project>('POST', `/projects/${ref}/upgrade`)
  } catch (error) {
    if (!(error instanceof CliError) || error.shown.code !== 'upgrade_running') throw error
  }
  const began = Date.now()
  for (let said = ''; ; project = undefined) {
    project ??= await client.request<Project>('GET', `/projects/${ref}`)
    const upgrade = project.services.find(({ name }) => name === service.name)?.upgrade
    if (upgrade?.failure) throw new CliError(upgrade.failure, 409)
    if (upgrade?.state !== 'wanted' && upgrade?.state !== 'running') return
    const step = upgrade.step ?? 'waiting'
    if (step !== said) say(step)
    said = step
    // One that takes long is looked at less often.
    await pause(Date.now() - began > SOON ? LOOK * 4 : LOOK)
  }
}

/** What is kept of the former major goes, or is used again. Among many, one that keeps nothing is no failure. */
export async function endUpgrade(client: Client, { ref, services }: Project, how: 'confirm' | 'back', alone: boolean): Promise<string> {
  if (!alone && !services.some(({ upgrade }) => upgrade?.state === 'kept')) return 'nothing is kept'
  await client.request<Project>('POST', `/projects/${ref}/upgrade/${how}`)
  return how === 'confirm' ? 'the former directory goes' : 'back on the former PostgreSQL, with its data of then'
}
