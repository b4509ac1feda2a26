import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MAJORS } from '@sovrabase/contract/majors'
import { prepareTree, TREE_RULES, treeRules, type VectorSet, WHOLE_SET } from './extensions.ts'
import { openSet } from './tree.ts'

/** Of the bundled PostgreSQL, which new projects get. */
export const MAJOR = 18
/** What a whole set has for moving; the others it calls by itself. */
const PROGRAMS = ['postgres', 'initdb', 'pg_controldata', 'pg_checksums', 'pg_upgrade'] as const

export const majorOf = (version: string): number => Number.parseInt(version, 10)

/** A whole set of one major's programs (`make majors`). */
export interface MajorSet {
  readonly dir: string
  /** "17.11" */
  readonly version: string
}

export type MajorSets = ReadonlyMap<number, MajorSet>

/** Those that are there. `tools`: where scripts put what the bundled PostgreSQL lacks. */
export async function findMajors(tools: string): Promise<MajorSets> {
  const found = new Map<number, MajorSet>()
  for (const major of MAJORS) {
    const dir = join(tools, `postgresql-server-${major}`)
    const version = await readFile(join(dir, 'VERSION'), 'utf8').catch(() => null)
    if (version !== null) found.set(major, { dir, version: version.trim().split('.').slice(0, 2).join('.') })
  }
  return found
}

/**
 * Their programs by name: `pg_upgrade-18`. A private copy of a set, with the same allowed extensions, is made when the first of them is asked for: most
 * installations never need one.
 */
export function majorPrograms(sets: MajorSets, engines: string, vector: VectorSet | null): Record<string, () => Promise<string>> {
  const programs: Record<string, () => Promise<string>> = {}
  for (const [major, { dir, version }] of sets) {
    // What is there of it is built for the current major.
    const own = major === MAJOR ? vector : null
    const prepare = { name: own ? treeRules(own) : TREE_RULES, prepare: (fresh: string) => prepareTree(fresh, own, WHOLE_SET) }
    const bin = () => openSet(dir, version, { engines, prepare })
    for (const name of PROGRAMS) programs[`${name}-${major}`] = async () => join(await bin(), name)
  }
  return programs
}
