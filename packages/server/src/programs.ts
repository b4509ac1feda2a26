import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fail } from './base/errors.ts'
import type { Config } from './config.ts'
import { findVector, prepareTree, treeRules } from './runtime/engines/postgres/extensions.ts'
import { foreignExtensions, shareCandidates } from './runtime/engines/postgres/foreign-extensions.ts'
import { findMajors, MAJOR, majorOf, majorPrograms } from './runtime/engines/postgres/majors.ts'
import { openTree } from './runtime/engines/postgres/tree.ts'

/** Where `make tools`, `make majors` and the server install put what the bundled PostgreSQL lacks. */
const TOOLS = resolve(import.meta.dirname, '../../../.cache/tools')

export interface PostgresProgram {
  /** "18.4": of new projects. */
  readonly version: string
  /** By name, or how to get it. */
  readonly programs: Readonly<Record<string, string | (() => Promise<string>)>>
  /** Settings that a distribution's PostgreSQL needs. */
  readonly settings: Readonly<Record<string, string>>
  /** Majors whose data can be run beside that of new projects: what runs them. */
  readonly others: Readonly<Record<number, string>>
  /** Majors with the tools of pg_upgrade, from and to. */
  readonly sets: readonly number[]
}

/** Makes (as the keeper, or alone) or finds the PostgreSQL that clusters run; `engines` is the directory for private copies. */
export async function postgresProgram(config: Config, engines: string): Promise<PostgresProgram> {
  const { bin_dir, major } = config.engines.postgres
  const tools = process.env.SOVRA_TOOLS_DIR || TOOLS
  const [vector, sets] = await Promise.all([findVector(tools), findMajors(tools)])
  const whole = majorPrograms(sets, engines, vector)
  const tree = () =>
    openTree({
      engines,
      ...(bin_dir === null ? {} : { binDir: bin_dir }),
      prepare: { name: treeRules(vector), prepare: (dir) => prepareTree(dir, vector) },
    })
  const main = await tree()
  const versions: Record<number, string> = Object.fromEntries([...sets].map(([of, { version }]) => [of, version]))
  const found = { sets: [...sets.keys()], others: versions }
  if (major !== null && major !== majorOf(main.version)) {
    const set = sets.get(major)
    const [postgres, initdb] = [whole[`postgres-${major}`], whole[`initdb-${major}`]]
    if (!set || !postgres || !initdb) throw fail('engine_major_missing', { version: major })
    const { [major]: _, ...others } = { ...found.others, [majorOf(main.version)]: main.version }
    const programs = { ...whole, [`postgres-${MAJOR}`]: main.programs.postgres, postgres, initdb }
    return { ...found, others, version: set.version, programs, settings: {} }
  }
  const { [majorOf(main.version)]: _, ...others } = found.others
  const programs = { ...whole, ...main.programs }
  if (bin_dir === null) return { ...found, others, version: main.version, programs, settings: {} }
  const share = shareCandidates(bin_dir).find((path) => existsSync(join(path, 'extension'))) ?? ''
  const { settings } = await foreignExtensions(main.version, share, engines)
  return { ...found, others, version: main.version, programs, settings }
}
