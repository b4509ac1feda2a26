import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fail } from '../../../base/errors.ts'

/**
 * The extensions that a project's owner may create: name → shared libraries that it needs. What is not here is not installed.
 *
 * A trusted extension's script runs as superuser, so each one was looked at: it makes only functions, types, operators and
 * trigger functions that act with the rights of their caller, and none that reaches files, programs, sockets or pages.
 * Left out, and why: dblink, postgres_fdw (sockets), file_fdw, xml2 (files, external entities), pl* and their transforms (languages),
 * pageinspect, pg_surgery, pg_visibility, pg_walinspect, pg_buffercache, pg_freespacemap, pg_logicalinspect, pgstattuple, pgrowlocks, amcheck
 * (look into pages, or at others' rows), pg_prewarm (background worker as superuser), sslinfo (no TLS here), refint (builds SQL from
 * unquoted names), autoinc, insert_username, intagg (superseded).
 */
export const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  bloom: ['bloom'],
  btree_gin: ['btree_gin'],
  btree_gist: ['btree_gist'],
  citext: ['citext'],
  cube: ['cube'],
  dict_int: ['dict_int'],
  dict_xsyn: ['dict_xsyn'],
  earthdistance: ['earthdistance'],
  fuzzystrmatch: ['fuzzystrmatch'],
  hstore: ['hstore'],
  intarray: ['_int'],
  isn: ['isn'],
  lo: ['lo'],
  ltree: ['ltree'],
  moddatetime: ['moddatetime'],
  pg_stat_statements: ['pg_stat_statements'],
  pg_trgm: ['pg_trgm'],
  pgcrypto: ['pgcrypto'],
  plpgsql: ['plpgsql'],
  seg: ['seg'],
  tablefunc: ['tablefunc'],
  tcn: ['tcn'],
  tsm_system_rows: ['tsm_system_rows'],
  tsm_system_time: ['tsm_system_time'],
  unaccent: ['unaccent'],
  'uuid-ossp': ['uuid-ossp'],
  vector: ['vector'],
}

/** Libraries of the server itself: encoding conversions, the stemmer, logical replication. */
const CORE = /^(dict_snowball|pgoutput|libpqwalreceiver|[a-z0-9_]+_and_[a-z0-9_]+|euc2004_sjis2004)\.so$/

/** Part of the tree's name: another list is another tree. */
export const TREE_RULES = `allow-1:${Object.keys(ALLOWED).join(',')}`

export const isAllowed = (name: string): boolean => Object.hasOwn(ALLOWED, name)
export const allowedNames = (): string[] => Object.keys(ALLOWED)

/** `hstore--1.4.sql`, `hstore.control` → `hstore`; what is neither (a rules file) → null. */
function extensionOf(file: string): string | null {
  return /^(.+?)(?:--.+\.sql|\.control)$/.exec(file)?.[1] ?? null
}

/** A control file that non-superusers may use; `superuser = false` needs no trust. */
export function trustedControl(text: string): string {
  const lines = text.split('\n').filter((line) => !/^\s*(trusted|superuser)\s*=/.test(line))
  return `${lines.join('\n').trimEnd()}\ntrusted = true\n`
}

/**
 * Makes a private copy of PostgreSQL hold the allowed extensions only, trusted; removes the control file, scripts and library of every
 * other one, so that not even a superuser could create it. `dir` has bin/, lib/postgresql/, share/postgresql/. Idempotent.
 */
export async function prepareTree(dir: string): Promise<void> {
  const extensions = join(dir, 'share/postgresql/extension')
  const libraries = join(dir, 'lib/postgresql')
  const files = await readdir(extensions).catch((cause: unknown) => {
    throw fail('extension_tree_invalid', { dir, reason: 'share/postgresql/extension is missing' }, { cause })
  })
  for (const file of files) {
    const name = extensionOf(file)
    const path = join(extensions, file)
    if (name === null || !isAllowed(name)) await rm(path, { force: true, recursive: true })
    else if (file.endsWith('.control')) await writeFile(path, trustedControl(await readFile(path, 'utf8')))
  }
  const wanted = new Set(Object.values(ALLOWED).flatMap((names) => names.map((name) => `${name}.so`)))
  for (const file of await readdir(libraries)) {
    if (!wanted.has(file) && !CORE.test(file)) await rm(join(libraries, file), { force: true, recursive: true })
  }
}

/** Settings that a distribution's PostgreSQL needs to see our allow-list only. */
export interface ForeignExtensions {
  readonly settings: Readonly<Record<string, string>>
}

/**
 * A distribution's PostgreSQL (`engines.postgres.bin_dir`), whose own directories we do not touch: the allowed control files and scripts are
 * copied to `into` and `extension_control_path` (PostgreSQL 18, superuser's to set) names that directory alone. `share` is what
 * `pg_config --sharedir` says. An older one has no such setting and is refused.
 */
export async function foreignExtensions(version: string, share: string, into: string): Promise<ForeignExtensions> {
  if (Number.parseInt(version, 10) < 18)
    throw fail('engine_version_unsupported', { version, wanted: 18, reason: 'it cannot be limited to the allowed extensions' })
  const from = join(share, 'extension')
  const target = join(into, 'extension')
  await rm(target, { recursive: true, force: true })
  await mkdir(target, { recursive: true, mode: 0o755 })
  const files = await readdir(from).catch((cause: unknown) => {
    throw fail('extension_tree_invalid', { dir: from, reason: 'it cannot be read' }, { cause })
  })
  for (const file of files) {
    const name = extensionOf(file)
    if (name === null || !isAllowed(name)) continue
    if (file.endsWith('.control'))
      await writeFile(join(target, file), trustedControl(await readFile(join(from, file), 'utf8')), { mode: 0o644 })
    else await copyFile(join(from, file), join(target, file))
  }
  return { settings: { extension_control_path: into } }
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
