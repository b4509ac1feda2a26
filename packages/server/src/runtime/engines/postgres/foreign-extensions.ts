import { createHash } from 'node:crypto'
import { copyFile, lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fail } from '../../../base/errors.ts'
import { extensionOf, isAllowed, TREE_RULES, trustedControl } from './extensions.ts'

/** Settings that a distribution's PostgreSQL needs to see our allow-list only. */
export interface ForeignExtensions {
  readonly settings: Readonly<Record<string, string>>
}

/**
 * A distribution's PostgreSQL (`engines.postgres.bin_dir`), whose own directories we do not touch: the allowed control files and scripts are
 * copied below `engines` and `extension_control_path` (PostgreSQL 18, superuser's to set) names that directory alone. `share` is what
 * `pg_config --sharedir` says. An older one has no such setting and is refused.
 *
 * Made by whoever has the rights (the keeper) and found by the server after it: the directory's name follows from what is copied.
 */
export async function foreignExtensions(version: string, share: string, engines: string): Promise<ForeignExtensions> {
  if (Number.parseInt(version, 10) < 18)
    throw fail('engine_version_unsupported', { version, wanted: 18, reason: 'it cannot be limited to the allowed extensions' })
  const from = join(share, 'extension')
  const files = await allowedFiles(from)
  const into = join(engines, `extensions-${version}-${await digestOf(from, files)}`)
  if ((await lstat(into).catch(() => null)) === null) await copyExtensions(from, files, into)
  return { settings: { extension_control_path: into } }
}

async function allowedFiles(from: string): Promise<string[]> {
  const files = await readdir(from).catch((cause: unknown) => {
    throw fail('extension_tree_invalid', { dir: from, reason: 'it cannot be read' }, { cause })
  })
  return files.filter((file) => isAllowed(extensionOf(file) ?? '')).toSorted()
}

/** Another one once the distribution brings, removes or renews an extension. */
async function digestOf(from: string, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(`${TREE_RULES} ${from}`)
  for (const file of files) {
    const { size, mtimeMs } = await stat(join(from, file))
    hash.update(`\n${file} ${size} ${mtimeMs}`)
  }
  return hash.digest('hex').slice(0, 8)
}

/** Beside, then renamed: a killed start leaves no half directory. */
async function copyExtensions(from: string, files: readonly string[], into: string): Promise<void> {
  const fresh = `${into}.new-${process.pid}`
  const target = join(fresh, 'extension')
  await rm(fresh, { recursive: true, force: true })
  await mkdir(target, { recursive: true, mode: 0o755 })
  for (const file of files) {
    if (file.endsWith('.control'))
      await writeFile(join(target, file), trustedControl(await readFile(join(from, file), 'utf8')), { mode: 0o644 })
    else await copyFile(join(from, file), join(target, file))
  }
  await rename(fresh, into).catch(async (error: unknown) => {
    await rm(fresh, { recursive: true, force: true })
    if ((await lstat(into).catch(() => null)) === null) throw error
  })
}

/** Where a distribution keeps its share directory, seen from its bin directory: Debian's layout, then the usual one. */
export function shareCandidates(binDir: string): string[] {
  const root = dirname(binDir)
  return [
    root.replace('/lib/postgresql/', '/share/postgresql/'),
    join(root, 'share/postgresql'),
    join(root, 'share/pgsql'),
    join(root, 'share'),
  ].filter((path, index, all) => path !== root && all.indexOf(path) === index)
}
