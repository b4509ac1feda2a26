import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Connection, findProject, revealConnection } from '../api/find.ts'
import { withClient } from '../database/sql.ts'
import { contentsOf, runTool, SYSTEM_SCHEMAS } from '../database/tools.ts'
import { type Context, command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'

/** The major of the server that is asked. */
export const majorOf = (at: Connection, note: (text: string) => void): Promise<number> =>
  withClient(at, note, async (client) => {
    const { rows } = await client.query<{ v: string }>(`select current_setting('server_version_num') as v`)
    return Math.floor(Number(rows[0]?.v) / 10_000)
  })

/** A directory of its own for as long as `work` takes. */
async function withFolder<R>(work: (folder: string) => Promise<R>): Promise<R> {
  const folder = mkdtempSync(join(tmpdir(), 'sovra-dump-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const RESTORE = ['--no-owner', '--use-list']

/** An archive's SQL, or its restoring, without what is ours. */
async function fromArchive(archive: string, major: number, args: readonly string[], at?: Connection): Promise<void> {
  await withFolder(async (folder) => {
    const list = join(folder, 'list')
    writeFileSync(list, contentsOf(await runTool('pg_restore', major, ['--list', archive])))
    await runTool('pg_restore', major, [...RESTORE, list, ...args, archive], at)
  })
}

export interface DumpOptions {
  readonly format: 'custom' | 'plain'
  /** Only its structure, or only its rows. */
  readonly only?: 'schema' | 'data'
  /** Schemas of people's that are left out. */
  readonly without?: readonly string[]
}

/** Writes a project's database to a file: all of it, or nothing. */
export async function dumpTo(file: string, at: Connection, major: number, { format, only, without = [] }: DumpOptions): Promise<void> {
  await withFolder(async (folder) => {
    const archive = format === 'custom' ? `${file}.part` : join(folder, 'archive')
    const part = `${file}.part`
    try {
      const left = [...SYSTEM_SCHEMAS, ...without].map((name) => `--exclude-schema=${name}`)
      await runTool('pg_dump', major, ['--format=custom', `--file=${archive}`, ...left, ...(only ? [`--${only}-only`] : [])], at)
      if (format === 'plain') await fromArchive(archive, major, [`--file=${part}`])
      renameSync(part, file)
    } finally {
      rmSync(part, { force: true })
    }
  })
}

interface Options {
  readonly format?: 'custom' | 'plain'
  readonly schemaOnly?: boolean
  readonly dataOnly?: boolean
  readonly force?: boolean
}

/** Instead of a file: standard output, or standard input. */
const STREAM = '-'

const wrong = (reason: string, hint: string) => stop('usage_wrong', { reason, hint })

function checkFile(file: string, kind: DumpOptions['format'], { json, force }: { json: boolean; force: boolean }): void {
  if (file === STREAM) {
    if (json) throw wrong('The dump and an answer in JSON cannot both be written there', 'Name a file, or leave --json out.')
    if (kind === 'custom' && process.stdout.isTTY)
      throw wrong('An archive is not for a terminal', 'Name a file, lead it into a program, or add --format plain.')
    return
  }
  if (existsSync(file) && !force) throw wrong(`${file} is there already`, 'Name another file, or add --force.')
  const folder = dirname(resolve(file))
  if (!existsSync(folder)) throw wrong(`${folder} is not there`, 'Make the folder, or name another file.')
}

async function at(context: Context, given: string): Promise<{ at: Connection; name: string }> {
  const client = await context.client()
  const { ref, name } = await findProject(client, given)
  return { at: await revealConnection(client, ref), name }
}

export const dump = command<Options, [project: string, file: string]>({
  use: 'dump <project> <file>',
  says: "write the database to a file, by PostgreSQL's own pg_dump",
  examples: [
    'sovra db dump shop shop.dump',
    'sovra db dump shop schema.sql --schema-only',
    'sovra db dump shop - --format plain | less',
    'sovra db dump shop - | sovra db restore copy -',
  ],
  flags: [
    [
      '--format <format>',
      'custom (compressed, for restore) or plain (SQL); without it plain for *.sql, else custom',
      { choices: ['custom', 'plain'] },
    ],
    ['--schema-only', 'no rows'],
    ['--data-only', 'only rows'],
    ['--force', 'overwrite the file'],
  ],
  more: `What people made, to a file, or with \`-\` to standard output: not auth, storage, realtime and other schemas of the platform; \`sovra backup create\` has everything.
Needs pg_dump of the server's major: \`make tools\` fetches it.`,
  async run(context, { format, schemaOnly, dataOnly, force }, given, file) {
    if (schemaOnly && dataOnly) throw wrong('Schema only and data only leave nothing', 'Give one of the two.')
    const kind = format ?? (file.endsWith('.sql') ? 'plain' : 'custom')
    checkFile(file, kind, { json: context.json, force: force === true })
    const found = await at(context, given)
    const only = schemaOnly ? 'schema' : dataOnly ? 'data' : undefined
    const how: DumpOptions = { format: kind, ...(only && { only }) }
    const major = await majorOf(found.at, context.note)
    if (file === STREAM) {
      await withFolder(async (folder) => {
        const made = join(folder, 'dump')
        await dumpTo(made, found.at, major, how)
        await pipeline(createReadStream(made), process.stdout, { end: false })
      })
      return undefined
    }
    await dumpTo(file, found.at, major, how)
    const { size } = statSync(file)
    return { data: { file, format: kind, bytes: size }, text: `Wrote ${file}: ${size} bytes, ${kind}.` }
  },
})

const MAGIC = 'PGDMP'

function isArchive(file: string): boolean {
  const head = Buffer.alloc(MAGIC.length)
  try {
    const handle = openSync(file, 'r')
    readSync(handle, head)
    closeSync(handle)
  } catch (error) {
    throw stop('usage_wrong', {
      reason: `${file} cannot be read: ${(error as Error).message}`,
      hint: 'Name a file of `sovra db dump`, or of pg_dump.',
    })
  }
  return head.toString('latin1') === MAGIC
}

async function restoreFrom(file: string, to: Connection, major: number): Promise<void> {
  if (isArchive(file)) await fromArchive(file, major, ['--single-transaction', '--exit-on-error', '--dbname=postgres'], to)
  else
    await runTool(
      'psql',
      major,
      ['--no-psqlrc', '--quiet', '--single-transaction', '--set=ON_ERROR_STOP=1', '--output=/dev/null', `--file=${file}`],
      to,
    )
}

export const restore = command<object, [project: string, file: string]>({
  use: 'restore <project> <file>',
  says: 'read a dump into the database: all of it, or nothing; `-` reads standard input',
  examples: ['sovra db restore shop-copy shop.dump', 'zstdcat shop.sql.zst | sovra db restore shop-copy -'],
  more: `One transaction. What is there stays: a table of the same name is an error (\`sovra db reset\` empties a project).
Archives of other servers work too: what a project has anyway, or only a superuser could make, is left out. Plain SQL is run as it is.`,
  async run(context, _options, given, file) {
    // One that cannot be read is said before anybody is woken.
    if (file !== STREAM) isArchive(file)
    const found = await at(context, given)
    const major = await majorOf(found.at, context.note)
    if (file === STREAM)
      await withFolder(async (folder) => {
        const kept = join(folder, 'dump')
        await pipeline(process.stdin, createWriteStream(kept))
        await restoreFrom(kept, found.at, major)
      })
    else await restoreFrom(file, found.at, major)
    return { data: { file, project: found.name }, text: `Restored ${file === STREAM ? 'standard input' : file} into ${found.name}.` }
  },
})
