import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { configuredDataDir, serverCommand } from '../api/local.ts'
import { command, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { count } from '../terminal/output.ts'

interface Imported {
  readonly rows: number
  readonly database: string
}

function opened(file: string): number {
  try {
    return openSync(file, 'r')
  } catch (error) {
    throw stop('copy_unreadable', { file, reason: (error as NodeJS.ErrnoException).code ?? 'unknown' })
  }
}

/** The server's own program does it, with its rights and under its lock; it has the file as its standard input. */
function run(file: string): Promise<{ code: number; out: string }> {
  const input = opened(file)
  const program = serverCommand()
  const child = spawn(program.file, [...program.args, 'metadata-import'], {
    cwd: program.cwd,
    env: program.env,
    stdio: [input, 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  return new Promise((done, reject) => {
    child.once('error', reject)
    child.once('close', (code) => done({ code: code ?? 1, out }))
  })
}

const importCopy = command<object, [file?: string]>({
  use: 'import [file]',
  says: 'a copy of the metadata into the empty database of the configuration; the server must be stopped',
  examples: ['sovra metadata import', 'sovra metadata import /var/lib/sovrabase/snapshots/metadata-20261126T030000Z-daily.sqlite'],
  more: `FILE is a SQLite file: one of <data>/snapshots, metadata.sqlite of a backup that was restored, or (by default) <data>/metadata.sqlite.
So metadata moves from SQLite to PostgreSQL or MariaDB, and from one server to another. The file stays as it is.`,
  async run(context, _options, given) {
    const file = given ?? join(await configuredDataDir(), 'metadata.sqlite')
    const { code, out } = await context.spin('Importing', () => run(file))
    if (code !== 0) return { data: { imported: false }, text: '', exit: code }
    const done = JSON.parse(out.trim().split('\n').at(-1) ?? '{}') as Imported
    return { data: done, text: `${count(done.rows, 'row')} of ${file} are in the ${done.database} database. Start the server.` }
  },
})

export const metadata: Group = {
  name: 'metadata',
  says: 'the database of organisations, projects and keys',
  commands: [importCopy],
}
