import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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
export function extensionOf(file: string): string | null {
  return /^(.+?)(?:--.+\.sql|\.control)$/.exec(file)?.[1] ?? null
}

/** A control file that non-superusers may use; `superuser = false` needs no trust. */
export function trustedControl(text: string): string {
  const lines = text.split('\n').filter((line) => !/^\s*(trusted|superuser)\s*=/.test(line))
  return `${lines.join('\n').trimEnd()}\ntrusted = true\n`
}

/** pgvector, which the bundled PostgreSQL lacks: the set that scripts/pgvector.sh makes, to be put into each new tree. */
export interface VectorSet {
  readonly dir: string
  readonly version: string
}

/** Null where there is none. */
export async function findVector(tools: string): Promise<VectorSet | null> {
  const dir = join(tools, 'pgvector-18')
  const version = await readFile(join(dir, 'VERSION'), 'utf8').catch(() => null)
  return version === null ? null : { dir, version: version.trim() }
}

/** What `prepareTree` does with a tree, for its name. */
export const treeRules = (vector: VectorSet | null): string => (vector === null ? TREE_RULES : `${TREE_RULES} vector-${vector.version}`)

/** How a tree is laid out: the bundled one has directories of its own below lib/ and share/, whole sets (`make majors`) have none. */
export interface TreePlaces {
  readonly libraries: string
  readonly extensions: string
}
const BUNDLED: TreePlaces = { libraries: 'lib/postgresql', extensions: 'share/postgresql/extension' }
export const WHOLE_SET: TreePlaces = { libraries: 'lib', extensions: 'share/extension' }
/** What the programs themselves are linked with. */
const LINKED = /^lib.+\.so(\.|$)/

/**
 * Makes a private copy of PostgreSQL hold the allowed extensions only, trusted; removes the control file, scripts and library of every
 * other one, so that not even a superuser could create it. Idempotent.
 */
export async function prepareTree(dir: string, vector: VectorSet | null = null, places: TreePlaces = BUNDLED): Promise<void> {
  const extensions = join(dir, places.extensions)
  const libraries = join(dir, places.libraries)
  if (vector !== null) {
    await cp(join(vector.dir, 'vector.so'), join(libraries, 'vector.so'))
    await cp(join(vector.dir, 'extension'), extensions, { recursive: true })
  }
  const files = await readdir(extensions).catch((cause: unknown) => {
    throw fail('extension_tree_invalid', { dir, reason: `${places.extensions} is missing` }, { cause })
  })
  for (const file of files) {
    const name = extensionOf(file)
    const path = join(extensions, file)
    if (name === null || !isAllowed(name)) await rm(path, { force: true, recursive: true })
    else if (file.endsWith('.control')) await writeFile(path, trustedControl(await readFile(path, 'utf8')))
  }
  const wanted = new Set(Object.values(ALLOWED).flatMap((names) => names.map((name) => `${name}.so`)))
  for (const file of await readdir(libraries)) {
    if (!wanted.has(file) && !CORE.test(file) && !(places === WHOLE_SET && LINKED.test(file)))
      await rm(join(libraries, file), { force: true, recursive: true })
  }
}
