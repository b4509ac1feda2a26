import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { splitStatements } from '@sovrabase/contract/statements'
import { stop } from '../terminal/errors.ts'

/** One file of `migrations/`, as the common CLI names them: `<version>_<name>.sql`. */
export interface Migration {
  readonly version: string
  readonly name: string
  /** As people see it, from the working directory. */
  readonly file: string
  readonly sql: string
  readonly checksum: string
}

const FOLDER = 'supabase'
const FILE = /^(\d+)_(.*)\.sql$/
const VERSION_LENGTH = 14

/** SHA-256 of the text, with line ends as on Unix: a checkout on Windows is no change. */
export const checksumOf = (sql: string): string => createHash('sha256').update(sql.replaceAll('\r\n', '\n')).digest('hex')

/** `--dir`, else `supabase/` here or in a directory above, else `supabase/` here. */
export function folderOf(dir: string | undefined): string {
  if (dir !== undefined) return resolve(dir)
  for (let at = process.cwd(); ; at = dirname(at)) {
    if (existsSync(join(at, FOLDER))) return join(at, FOLDER)
    if (at === dirname(at)) return resolve(FOLDER)
  }
}

export const migrationsOf = (folder: string): string => join(folder, 'migrations')

/** Shorter from here where it lies here. */
export function shown(path: string): string {
  const here = relative(process.cwd(), path)
  return here.startsWith('..') ? path : here
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (error) {
    throw stop('usage_wrong', { reason: `${shown(path)} cannot be read: ${(error as Error).message}`, hint: 'Name a file with SQL.' })
  }
}

/** In the order of their names. Others than `<digits>_<name>.sql` are passed over, and said. */
export function readMigrations(folder: string, note: (text: string) => void = () => {}): Migration[] {
  const dir = migrationsOf(folder)
  const names = existsSync(dir) ? readdirSync(dir).toSorted() : []
  const found: Migration[] = []
  for (const name of names) {
    const parts = FILE.exec(name)
    if (!parts) {
      if (name.endsWith('.sql')) note(`Passed over ${shown(join(dir, name))}: its name is not <digits>_<name>.sql.`)
      continue
    }
    const [, version = '', title = ''] = parts
    if (found.some((other) => other.version === version))
      throw stop('migrations_invalid', {
        dir: shown(dir),
        reason: `two have the version ${version}`,
        hint: 'Give one of them another version.',
      })
    const sql = readText(join(dir, name))
    found.push({ version, name: title, file: shown(join(dir, name)), sql, checksum: checksumOf(sql) })
  }
  return found
}

const stamp = (time: Date): string => time.toISOString().replace(/\D/g, '').slice(0, VERSION_LENGTH)

/** Writes `<now>_<name>.sql`, later than all that are there; answers what it wrote. */
export function writeMigration(folder: string, title: string, sql: string, now: Date = new Date()): Migration {
  const dir = migrationsOf(folder)
  const name = title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '')
  if (name === '')
    throw stop('usage_wrong', {
      reason: `'${title}' is no name for a migration`,
      hint: 'Use letters and digits: sovra db migration new add_todos.',
    })
  const last = readMigrations(folder).at(-1)?.version ?? ''
  let time = now.getTime()
  while (stamp(new Date(time)) === last) time += 1000
  const version = stamp(new Date(time))
  const path = join(dir, `${version}_${name}.sql`)
  mkdirSync(dir, { recursive: true })
  writeFileSync(path, sql, { flag: 'wx' })
  return { version, name, file: shown(path), sql, checksum: checksumOf(sql) }
}

/** How a file is run. `one`: all of it in one transaction. `single`: statement by statement, since it says so, or speaks of transactions itself. */
export type Mode = 'one' | 'single'

const DIRECTIVE = /^--\s*sovra:\s*no[- ]transaction\s*$/i
const BEGINS = /^(?:begin|start\s+transaction)\b/i
const COMMITS = /^(?:commit|end)\b/i
const CONTROLS = /^(?:begin|start\s+transaction|commit|end|rollback(?!\s+to)|abort|prepare\s+transaction)\b/i

/** The comment lines at its top say `-- sovra: no-transaction`. */
function saysSingle(sql: string): boolean {
  for (const line of sql.split('\n')) {
    const text = line.trim()
    if (DIRECTIVE.test(text)) return true
    if (text !== '' && !text.startsWith('--')) return false
  }
  return false
}

export const controlsTransactions = (sql: string): boolean => splitStatements(sql).some(({ text }) => CONTROLS.test(text))

/** Its statements, and how to run them. One BEGIN … COMMIT around the whole is what we do anyway. */
export function planOf(sql: string) {
  const statements = splitStatements(sql)
  if (saysSingle(sql)) return { mode: 'single' as Mode, statements }
  const controls = statements.filter(({ text }) => CONTROLS.test(text))
  if (controls.length === 0) return { mode: 'one' as Mode, statements }
  const [first, last] = [statements[0], statements.at(-1)]
  const wrapped = controls.length === 2 && first && last && BEGINS.test(first.text) && COMMITS.test(last.text)
  return wrapped ? { mode: 'one' as Mode, statements: statements.slice(1, -1) } : { mode: 'single' as Mode, statements }
}

/** `[db.seed] sql_paths` of the common CLI's config.toml: a list of strings, which TOML writes as JSON does. */
function seedPaths(folder: string): string[] {
  const config = join(folder, 'config.toml')
  if (!existsSync(config)) return ['./seed.sql']
  const section = /^\[db\.seed\]\s*$([\s\S]*?)(?=^\[|(?![\s\S]))/m.exec(readText(config))?.[1] ?? ''
  const list = /^\s*sql_paths\s*=\s*\[([\s\S]*?)\]/m.exec(section)?.[1]
  if (list === undefined) return ['./seed.sql']
  return [...list.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'/g)].map(([, quoted, literal]) => literal ?? (JSON.parse(`"${quoted}"`) as string))
}

export interface Seed {
  /** As it is recorded: from the folder. */
  readonly path: string
  readonly file: string
  readonly sql: string
  readonly checksum: string
}

/** Files named, else those of config.toml, else seed.sql; in order, each once. */
export function readSeeds(folder: string, named: readonly string[]): Seed[] {
  const paths =
    named.length > 0
      ? named.map((path) => resolve(path))
      : seedPaths(folder).flatMap((pattern) =>
          globSync(pattern, { cwd: folder })
            .toSorted()
            .map((path) => resolve(folder, path)),
        )
  return [...new Set(paths)].map((path) => {
    const sql = readText(path)
    return { path: relative(folder, path), file: shown(path), sql, checksum: checksumOf(sql) }
  })
}
