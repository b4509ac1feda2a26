import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from './config.ts'
import { prepareTree, TREE_RULES } from './runtime/engines/postgres/extensions.ts'
import { foreignExtensions, shareCandidates } from './runtime/engines/postgres/foreign-extensions.ts'
import { openTree } from './runtime/engines/postgres/tree.ts'

export interface PostgresProgram {
  /** "18.4" */
  readonly version: string
  readonly programs: { readonly postgres: string; readonly initdb: string }
  /** Settings that a distribution's PostgreSQL needs. */
  readonly settings: Readonly<Record<string, string>>
}

/** Makes (as the keeper, or alone) or finds the PostgreSQL that clusters run; `engines` is the directory for private copies. */
export async function postgresProgram(config: Config, engines: string): Promise<PostgresProgram> {
  const { bin_dir } = config.engines.postgres
  const tree = await openTree({
    engines,
    ...(bin_dir === null ? {} : { binDir: bin_dir }),
    prepare: { name: TREE_RULES, prepare: prepareTree },
  })
  if (bin_dir === null) return { version: tree.version, programs: tree.programs, settings: {} }
  const share = shareCandidates(bin_dir).find((path) => existsSync(join(path, 'extension'))) ?? ''
  const { settings } = await foreignExtensions(tree.version, share, engines)
  return { version: tree.version, programs: tree.programs, settings }
}
