import { substituteOf } from '@sovrabase/contract/extensions'
import type { Statement } from '@sovrabase/contract/statements'
import type { Client, DatabaseError } from 'pg'
import { send } from '../database/copy.ts'
import { excerpt, isDatabaseError, placeOf } from '../database/sql.ts'
import { stop } from '../terminal/errors.ts'
import { extensionIn, settledHere, unavailable } from './extensions.ts'
import { type Migration, type Mode, planOf } from './files.ts'
import { record, recordStatement } from './store.ts'

/** A file that is run: a migration or a seed. */
interface Source {
  readonly file: string
  readonly sql: string
}

/** Characters of one message: enough that a far server does not cost a round trip a row. */
const BATCH = 131_072
const BATCH_STATEMENTS = 1000
/** So that a file that waits for a lock does not stop all who come after it. The file may say otherwise. */
const LOCK_TIMEOUT = '10s'
/** What one file has set is not the next one's. The check ends a statement whose client is gone. */
const FRESH = `reset role; reset session authorization; reset all; set client_connection_check_interval = '2s'; set lock_timeout = '${LOCK_TIMEOUT}'`
const NOT_IN_TRANSACTION = '25001'
const LOCK_NOT_AVAILABLE = '55P03'

const HINTS: Readonly<Record<string, string>> = {
  [NOT_IN_TRANSACTION]: 'Write `-- sovra: no-transaction` as the first line of the file: its statements then run one by one.',
  [LOCK_NOT_AVAILABLE]: `It waited ${LOCK_TIMEOUT} for a lock that another session has. Try again, or write \`set lock_timeout = '1min';\` at the top.`,
}

/** Where in the file it failed: at the error's own position, else where the statement begins. */
function failure({ file, sql }: Source, statement: Statement, from: number, error: DatabaseError) {
  const at =
    error.position === undefined ? statement.start : from + [...sql.slice(from)].slice(0, Number(error.position) - 1).join('').length
  const place = placeOf(sql, at)
  const { code = '', detail, where, hint = HINTS[code] ?? '', constraint, schema, table, column, message } = error
  return stop(
    'migration_stopped',
    { place: `${file}:${place.line}:${place.column}`, message, sqlstate: code, hint },
    {
      details: {
        file,
        line: place.line,
        column: place.column,
        sqlstate: code,
        detail,
        where,
        constraint,
        schema,
        table,
        column_name: column,
      },
      lines: [...excerpt(place), ...(detail ? [`detail: ${detail}`] : []), ...(where ? [`where: ${where}`] : [])],
      cause: error,
    },
  )
}

const failed = (source: Source, statement: Statement, from: number, error: Error) =>
  isDatabaseError(error) ? failure(source, statement, from, error) : stop('connection_lost', { reason: error.message }, { cause: error })

/** The neighbours from `head` on that go as one message; what only psql understands may lie between two that do not. */
function batchOf(sql: string, [head, ...rest]: readonly Statement[], alone: (statement: Statement) => boolean): Statement[] {
  if (!head) return []
  const batch = [head]
  if (alone(head)) return batch
  let end = head.end
  for (const next of rest) {
    if (alone(next) || next.end - head.start > BATCH || sql.slice(end, next.start).includes('\\')) break
    batch.push(next)
    end = next.end
  }
  return batch
}

interface Run {
  readonly mode: Mode
  readonly statements: readonly Statement[]
  /** Called with the place of each statement that was done alone. */
  readonly done?: (statement: Statement) => Promise<unknown>
  readonly warn: (text: string) => void
}

/** The statements of a file in order; throws with file, line and position. */
async function runStatements(client: Client, source: Source, { mode, statements, done, warn }: Run): Promise<void> {
  const missing = await unavailable(client, statements)
  const missed = ({ text }: Statement) => {
    const about = missing.size > 0 ? extensionIn(text) : undefined
    return about && missing.has(about.name) ? about : undefined
  }
  const alone = (statement: Statement) =>
    mode === 'single' || statement.data !== undefined || settledHere(statement.text) !== undefined || missed(statement) !== undefined
  for (let i = 0; i < statements.length; ) {
    const batch = batchOf(source.sql, statements.slice(i, i + BATCH_STATEMENTS), alone)
    const [first] = batch
    const last = batch.at(-1)
    if (!first || !last) return
    const [about, settled] = [missed(first), settledHere(first.text)]
    if (settled) warn(`${source.file}:${placeOf(source.sql, first.start).line}: passed over, ${settled}.`)
    else if (about) {
      const { line, column } = placeOf(source.sql, first.start)
      const substitute = substituteOf(about.name) ?? ''
      if (!about.lenient) {
        const lines = [`${source.file}:${line}:${column}: ${first.text}`]
        throw stop('extension_unavailable', { name: about.name, substitute }, { details: { file: source.file, line, column }, lines })
      }
      warn(`${source.file}:${line}: passed over, the extension ${about.name} is not to be had here. ${substitute}`)
    } else {
      const sent = await send(client, source.sql.slice(first.start, last.end), first.data)
      if (sent.error) throw failed(source, batch[Math.min(sent.done, batch.length - 1)] ?? first, first.start, sent.error)
      if (batch.length === 1) await done?.(first)
    }
    i += batch.length
  }
}

/** Everything in one transaction, `finish` included. */
async function inTransaction(client: Client, work: () => Promise<void>, finish: () => Promise<unknown>): Promise<void> {
  await client.query(FRESH)
  await client.query('begin')
  try {
    await work()
    await client.query('reset role; reset session authorization')
    await finish()
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => {})
    throw error
  }
}

/** What only the end has found wrong (a deferred constraint) is said of the last statement. */
function atEnd(source: Source, statements: readonly Statement[], error: unknown): unknown {
  const last = statements.at(-1)
  return last && isDatabaseError(error) ? failure(source, last, last.start, error) : error
}

export interface ApplyOptions {
  /** The statements of it that an earlier run has done. */
  readonly done?: readonly string[]
  readonly project: string
  readonly note: (text: string) => void
}

/** Statement by statement, each recorded: killed or failed, the next run goes on where it stopped. */
async function applySingle(client: Client, migration: Migration, options: ApplyOptions, warn: (text: string) => void): Promise<void> {
  const { statements } = planOf(migration.sql)
  const { done = [], project, note } = options
  if (done.some((text, i) => statements[i]?.text !== text))
    throw stop('migration_changed', { file: migration.file, done: done.length, project, version: migration.version })
  if (done.length > 0) note(`${migration.file}: goes on at statement ${done.length + 1} of ${statements.length}.`)
  await client.query(FRESH)
  try {
    await runStatements(client, migration, {
      mode: 'single',
      statements: statements.slice(done.length),
      warn,
      done: ({ text }) => recordStatement(client, migration.version, text),
    })
  } catch (error) {
    // A transaction of its own that was left open.
    await client.query('rollback').catch(() => {})
    throw error
  }
}

/** Applies one file and records it; answers its warnings. */
export async function applyMigration(client: Client, migration: Migration, options: ApplyOptions): Promise<string[]> {
  const { mode, statements } = planOf(migration.sql)
  const warnings: string[] = []
  const finish = () => record(client, { ...migration, statements: statements.map(({ text }) => text), warnings })
  const warn = (text: string) => warnings.push(text)
  try {
    if (mode === 'one') await inTransaction(client, () => runStatements(client, migration, { mode, statements, warn }), finish)
    else {
      await applySingle(client, migration, options, warn)
      await client.query('reset role; reset session authorization')
      await finish()
    }
  } catch (error) {
    throw atEnd(migration, statements, error)
  }
  return warnings
}

/** Runs SQL of a file in one transaction with `finish`; answers its warnings. */
export async function applyText(client: Client, source: Source, finish: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = []
  const { statements } = planOf(source.sql)
  const warn = (text: string) => warnings.push(text)
  try {
    await inTransaction(client, () => runStatements(client, source, { mode: 'one', statements, warn }), finish)
  } catch (error) {
    throw atEnd(source, statements, error)
  }
  return warnings
}
