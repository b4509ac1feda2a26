import type { Connection as ConnectionSchema, Project } from '@sovrabase/contract/project'
import type { Static } from 'typebox'
import { CliError, EXIT, stop } from '../terminal/errors.ts'
import type { Client } from './client.ts'

const REF = /^[a-z]{20}$/

export interface Organisation {
  readonly id: string
  readonly name: string
  readonly title: string
  readonly created_at: string
  readonly updated_at: string
}

const isNotFound = (error: unknown): boolean => error instanceof CliError && error.exit === EXIT.notFound

/** By ref, by name, or by `organisation/name`. `project_unknown`, `name_ambiguous`. */
export async function findProject(client: Client, given: string, state: 'active' | 'deleted' = 'active'): Promise<Project> {
  if (REF.test(given)) {
    try {
      return await client.request<Project>('GET', `/projects/${given}`)
    } catch (error) {
      // Twenty letters may be a name too.
      if (!isNotFound(error)) throw error
    }
  }
  const [name = '', organisation] = given.split('/').reverse()
  const found = await client.all<Project>('/projects', { name, organisation, state })
  if (found.length > 1) {
    // The same name in two organisations, or deleted twice in one.
    const names = found.map((project) => `${project.organisation.name}/${project.name}`)
    const known = new Set(names).size === names.length ? names : found.map((project) => project.ref)
    throw stop('name_ambiguous', { name: given, known: known.toSorted().join(', ') })
  }
  const project = found[0]
  if (!project) throw stop('project_unknown', { name: given })
  return project
}

/** The one named, else the only one. `organisation_needed`, `organisation_none`. */
export async function findOrganisation(client: Client, given: string | undefined): Promise<Organisation> {
  if (given !== undefined) return client.request<Organisation>('GET', `/organisations/${encodeURIComponent(given)}`)
  const all = await client.all<Organisation>('/organisations')
  if (all.length > 1) throw stop('organisation_needed', { known: all.map(({ name }) => name).join(', ') })
  const only = all[0]
  if (!only) throw stop('organisation_none')
  return only
}

export type Connection = Static<typeof ConnectionSchema>

/** What the role postgres signs in with; the server records that it was shown. */
export const revealConnection = (client: Client, ref: string): Promise<Connection> =>
  client.request<Connection>('POST', `/projects/${ref}/connection/reveal`)
