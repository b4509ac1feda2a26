import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import type { Connection } from '../api/find.ts'
import { stop } from '../terminal/errors.ts'

export type Program = 'pg_dump' | 'pg_restore' | 'psql'

interface Tool {
  readonly path: string
  /** What its own libraries need: without it the system's libpq is loaded. */
  readonly env: Readonly<Record<string, string>>
}

const CHECKOUT = resolve(import.meta.dirname, '../../../..')

/** In this order: on the PATH, where distributions keep them, where `make tools` puts them. */
function placesOf(major: number): string[] {
  const cache = process.env.SOVRA_TOOLS_DIR || join(CHECKOUT, '.cache/tools')
  return [
    ...(process.env.PATH ?? '').split(delimiter).filter(Boolean),
    `/usr/lib/postgresql/${major}/bin`,
    join(cache, `postgresql-${major}/bin`),
  ]
}

function environmentOf(place: string): Record<string, string> {
  const libraries = resolve(place, '../lib')
  return existsSync(join(libraries, 'libpq.so.5')) ? { LD_LIBRARY_PATH: libraries } : {}
}

/** PostgreSQL's own program of this major; `tools_missing`. An older one refuses a newer server, a newer one writes what that does not know. */
export function findTool(program: Program, major: number): Tool {
  for (const place of placesOf(major)) {
    const path = join(place, program)
    if (!existsSync(path)) continue
    const env = environmentOf(place)
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', env: { ...process.env, ...env } })
    if (Number(/\(PostgreSQL\) (\d+)/.exec(stdout ?? '')?.[1]) === major) return { path, env }
  }
  throw stop('tools_missing', { program, major })
}

/** The last lines that a program said, which is where the reason is. */
const TOLD = 4_000

/** Runs it to its end; answers what it wrote. Rejects with `tool_failed`. Passwords go by the environment: arguments are seen by others. */
export async function runTool(program: Program, major: number, args: readonly string[], at?: Connection): Promise<string> {
  const { path, env } = findTool(program, major)
  const connection = at
    ? {
        PGHOST: at.host,
        PGPORT: String(at.port),
        PGUSER: at.user,
        PGPASSWORD: at.password,
        PGDATABASE: at.database,
        PGGSSENCMODE: 'disable',
      }
    : {}
  const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env, ...connection, PGAPPNAME: 'sovra' } })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err = (err + text).slice(-TOLD)))
  const code = await new Promise<number | null>((done, failed) => child.once('close', done).once('error', failed))
  if (code === 0) return out
  throw failed(program, err, code)
}

/** What would mend what a program said. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/already exists/, 'Restore into a new project (`sovra projects create`), or empty this one: `sovra db reset`.'],
  [/duplicate key value/, 'The rows are there already: restore into a new project, or empty this one: `sovra db reset`.'],
  [
    /extension ".*" is not available|pg_database_owner/,
    'As a file of supabase/migrations it is read (`sovra db push`): what is not to be had here is passed over there.',
  ],
  [
    /permission denied|must be (?:owner|superuser)/,
    'The file has what only a superuser may do: dump it anew with `sovra db dump`, or take that out.',
  ],
  [/could not (?:open|write)|No space left/, 'Look at the folder and its room, or name another file.'],
  [/could not connect|server closed|terminating connection/, 'Try again; `sovra status` says how the server is.'],
]

/** The first error that it said, then the rest of its words. */
export function failed(program: string, said: string, code: number | null) {
  const lines = said.trim().split('\n').filter(Boolean)
  const first = lines.find((line) => /error:/i.test(line)) ?? lines.at(-1) ?? `exit code ${code}`
  const message = first.replace(new RegExp(`^${program}: (?:error: )?`), '')
  const hint = HINTS.find(([pattern]) => pattern.test(said))?.[1] ?? ''
  return stop('tool_failed', { program, message, hint }, { lines: lines.filter((line) => line !== first) })
}

/** Ours, in every project, and kept by us. */
const SYSTEM = 'auth|storage|realtime|sovrabase|extensions'
export const SYSTEM_SCHEMAS = SYSTEM.split('|')
const OURS = [
  /^EVENT TRIGGER /,
  /^(?:SCHEMA|COMMENT|ACL) - (?:SCHEMA |EVENT TRIGGER |EXTENSION )/,
  new RegExp(`^SCHEMA - (?:public|${SYSTEM}) `),
  /^EXTENSION - (?:plpgsql|pgcrypto|uuid-ossp) /,
  /^PUBLICATION - supabase_realtime /,
  /^DEFAULT ACL .* (?:sovrabase|supabase)_\w+$/,
  new RegExp(`^[A-Z][A-Z ]* (?:${SYSTEM}) `),
]
/** Rights on people's own schemas are theirs. */
const THEIRS = new RegExp(`^(?:ACL|COMMENT) - SCHEMA (?!(?:public|${SYSTEM}) )`)

/** Of the table of contents of an archive (`pg_restore --list`): what a project has anyway, or only a superuser could make, is left out. */
export const contentsOf = (list: string): string =>
  list
    .split('\n')
    .filter((line) => {
      const entry = line.replace(/^\d+; \d+ \d+ /, '')
      return line.startsWith(';') || THEIRS.test(entry) || !OURS.some((pattern) => pattern.test(entry))
    })
    .join('\n')
