import type { Client } from 'pg'
import { stop } from '../terminal/errors.ts'
import { applyMigration, applyText } from './apply.ts'
import { type Migration, migrationsOf, type Seed, shown } from './files.ts'
import { type Applied, lock, makeTables, readApplied, readSeeded, readUnfinished, recordSeed } from './store.ts'

export interface Warning {
  readonly version: string
  readonly text: string
}

/** What a run did to one project, or would do. */
export interface Progress {
  readonly applied: readonly string[]
  /** With --dry-run: what would be applied. */
  readonly pending: readonly string[]
  readonly warnings: readonly Warning[]
}

export interface RunOptions {
  /** As people call it. */
  readonly project: string
  /** The folder with `migrations/`. */
  readonly folder: string
  readonly includeAll: boolean
  readonly dryRun: boolean
  /** Notices and waits. */
  readonly note: (text: string) => void
  /** Before each file. */
  readonly begins?: (migration: Migration) => void
}

/** Files and rows side by side; either may be missing. */
export interface Pair {
  readonly version: string
  readonly name: string
  readonly file: Migration | undefined
  readonly row: Applied | undefined
  /** The file is not what was applied. */
  readonly changed: boolean
}

export function compare(files: readonly Migration[], rows: readonly Applied[]): Pair[] {
  const versions = [...new Set([...files, ...rows].map(({ version }) => version))].toSorted()
  return versions.map((version) => {
    const file = files.find((other) => other.version === version)
    const row = rows.find((other) => other.version === version)
    const changed = file !== undefined && row?.checksum != null && row.checksum !== file.checksum
    return { version, name: file?.name ?? row?.name ?? '', file, row, changed }
  })
}

const list = (pairs: readonly { version: string }[]): string => pairs.map(({ version }) => version).join(' ')

/** The files that are to be applied, and what is odd about the others. */
function pendingOf(files: readonly Migration[], rows: readonly Applied[], { project, folder, includeAll }: RunOptions) {
  const pairs = compare(files, rows)
  const missing = pairs.filter(({ file }) => file === undefined)
  if (missing.length > 0) throw stop('migrations_missing', { project, dir: shown(migrationsOf(folder)), versions: list(missing) })
  const pending = pairs.flatMap(({ file, row }) => (file && !row ? [file] : []))
  const last = rows.at(-1)?.version ?? ''
  const late = pending.filter(({ version }) => version < last)
  if (late.length > 0 && !includeAll) throw stop('migrations_out_of_order', { project, versions: list(late) })
  const warnings = pairs
    .filter(({ changed }) => changed)
    .map(({ version, file }) => ({ version, text: `${file?.file} has changed since it was applied: what it says now was not run.` }))
  return { pending, warnings }
}

/** Applies what a project has not. Two at once: the second one waits, and finds nothing to do. */
export async function bringUp(client: Client, files: readonly Migration[], options: RunOptions): Promise<Progress> {
  if (options.dryRun) {
    const { pending, warnings } = pendingOf(files, await readApplied(client), options)
    return { applied: [], pending: pending.map(({ version }) => version), warnings }
  }
  await lock(client, options.project, options.note)
  await makeTables(client)
  const { pending, warnings } = pendingOf(files, await readApplied(client), options)
  const unfinished = pending.length > 0 ? await readUnfinished(client) : new Map<string, readonly string[]>()
  const found: Warning[] = [...warnings]
  for (const migration of pending) {
    options.begins?.(migration)
    const done = unfinished.get(migration.version) ?? []
    const said = await applyMigration(client, migration, { done, project: options.project, note: options.note })
    found.push(...said.map((text) => ({ version: migration.version, text })))
  }
  return { applied: pending.map(({ version }) => version), pending: [], warnings: found }
}

export interface Seeded {
  readonly run: readonly string[]
  /** Run before, as they are. */
  readonly skipped: readonly string[]
  /** Run before, and changed since. */
  readonly changed: readonly string[]
  readonly warnings: readonly string[]
}

/** Each file in a transaction, once: what was run before is passed over unless `again`. */
export async function plantSeeds(
  client: Client,
  seeds: readonly Seed[],
  options: { project: string; again: boolean; note: (text: string) => void },
): Promise<Seeded> {
  await lock(client, options.project, options.note)
  await makeTables(client)
  const known = await readSeeded(client)
  const before = seeds.filter(({ path }) => known.has(path) && !options.again)
  const wanted = seeds.filter((seed) => !before.includes(seed))
  const warnings: string[] = []
  for (const seed of wanted) warnings.push(...(await applyText(client, seed, () => recordSeed(client, seed.path, seed.checksum))))
  const changed = before.filter(({ path, checksum }) => known.get(path) !== checksum)
  return {
    run: wanted.map(({ file }) => file),
    skipped: before.filter((seed) => !changed.includes(seed)).map(({ file }) => file),
    changed: changed.map(({ file }) => file),
    warnings,
  }
}
