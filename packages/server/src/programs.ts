import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Config } from './config.ts'
import { findVector, prepareTree, treeRules } from './runtime/engines/postgres/extensions.ts'
import { foreignExtensions, shareCandidates } from './runtime/engines/postgres/foreign-extensions.ts'
import { openTree } from './runtime/engines/postgres/tree.ts'

/** Where `make tools` and the server install put what the bundled PostgreSQL lacks. */
const TOOLS = resolve(import.meta.dirname, '../../../.cache/tools')

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
  const vector = await findVector(process.env.SOVRA_TOOLS_DIR || TOOLS)
  const tree = await openTree({
    engines,
    ...(bin_dir === null ? {} : { binDir: bin_dir }),
    prepare: { name: treeRules(vector), prepare: (dir) => prepareTree(dir, vector) },
  })
  if (bin_dir === null) return { version: tree.version, programs: tree.programs, settings: {} }
  const share = shareCandidates(bin_dir).find((path) => existsSync(join(path, 'extension'))) ?? ''
  const { settings } = await foreignExtensions(tree.version, share, engines)
  return { version: tree.version, programs: tree.programs, settings }
}
