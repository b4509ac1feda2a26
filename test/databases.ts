import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, test } from 'node:test'
import { sql } from 'kysely'
import { type Database, type DatabaseOptions, openDatabase } from '../packages/server/src/base/db/database.ts'
import { migrate } from '../packages/server/src/base/db/migrate.ts'
import { type Bus, makeBus } from '../packages/server/src/base/events.ts'
import { makeQueue, type Queue, type QueueOptions } from '../packages/server/src/base/jobs.ts'
import { type Changer, makeChanger } from '../packages/server/src/metadata/change.ts'
import { MIGRATIONS } from '../packages/server/src/metadata/migrations/index.ts'
import type { Metadata } from '../packages/server/src/metadata/open.ts'
import type { Tables } from '../packages/server/src/metadata/tables.ts'
import { mariadbMissing, server } from './engines.ts'

export type DatabaseName = 'sqlite' | 'postgresql' | 'mariadb'
const NAMES: readonly DatabaseName[] = ['sqlite', 'postgresql', 'mariadb']

/** An empty database of one test. */
export interface TestDatabase<T> {
  readonly database: Database<T>
  readonly options: DatabaseOptions
  /** A second handle on it, as another process would have. Closed with the test. */
  again(): Database<T>
}

type Closing = () => Promise<unknown>

async function admin(name: 'postgresql' | 'mariadb', statement: (database: string) => string, database: string): Promise<DatabaseOptions> {
  const url = await server(name)
  const type = name === 'mariadb' ? 'mysql' : 'postgresql'
  const handle = openDatabase<unknown>({ type, connection_string: url(name === 'mariadb' ? 'mysql' : 'postgres'), max_connections: 1 })
  await sql.raw(statement(database)).execute(handle.kysely)
  await handle.close()
  return { type, connection_string: url(database) }
}

async function create(name: 'postgresql' | 'mariadb', closing: Closing[]): Promise<DatabaseOptions> {
  const database = `t${randomBytes(8).toString('hex')}`
  closing.push(() => admin(name, (it) => `drop database ${it}${name === 'postgresql' ? ' with (force)' : ''}`, database))
  return admin(name, (it) => `create database ${it}`, database)
}

function createFile(closing: Closing[]): DatabaseOptions {
  const dir = mkdtempSync(join(tmpdir(), 'sovra-sqlite-'))
  closing.push(async () => rmSync(dir, { recursive: true, force: true }))
  return { type: 'sqlite', file: join(dir, 'test.sqlite') }
}

function handles<T>(options: DatabaseOptions, closing: Closing[]): TestDatabase<T> {
  const again = () => {
    const database = openDatabase<T>(options)
    closing.push(() => database.close())
    return database
  }
  return { database: again(), options, again }
}

async function make<T>(name: DatabaseName, closing: Closing[]): Promise<TestDatabase<T>> {
  return handles(name === 'sqlite' ? createFile(closing) : await create(name, closing), closing)
}

const TABLES = MIGRATIONS.flatMap((migration) => (migration.name.startsWith('table ') ? [migration.name.slice('table '.length)] : []))
/** Migrated and emptied databases of earlier tests of this file: making all tables costs more than most tests. */
const emptied = new Map<DatabaseName, DatabaseOptions[]>()

/** Children were made after their parents, so they are emptied before them. A database that a test has changed otherwise is left aside. */
async function recycle(name: DatabaseName, options: DatabaseOptions): Promise<void> {
  const database = openDatabase<unknown>(options)
  try {
    for (const table of [...TABLES].reverse()) await sql`delete from ${sql.table(table)}`.execute(database.kysely)
    emptied.set(name, [...(emptied.get(name) ?? []), options])
  } catch {
    // Gone with its server.
  }
  await database.close()
}

async function makeMigrated(name: DatabaseName, closing: Closing[]): Promise<TestDatabase<Tables>> {
  if (name === 'sqlite') {
    const made = await make<Tables>(name, closing)
    await migrate(made.database, MIGRATIONS)
    return made
  }
  const left = emptied.get(name)?.pop()
  const options = left ?? (await create(name, []))
  closing.push(() => recycle(name, options))
  const made = handles<Tables>(options, closing)
  if (!left) await migrate(made.database, MIGRATIONS)
  return made
}

/** Missing MariaDB: skipped by name with the reason; in CI it fails instead. */
function skip(name: DatabaseName): string | false {
  return name === 'mariadb' && process.env.CI !== 'true' ? (mariadbMissing() ?? false) : false
}

/** What is skipped is counted as one test, with its reason. */
function suite(name: DatabaseName, body: () => void): void {
  const reason = skip(name)
  if (reason) test(name, { skip: reason }, () => {})
  else describe(name, body)
}

/**
 * Runs `body` once for each real database, as a suite of its name; each `open()` is an empty database of its own, gone after the test. PostgreSQL and
 * MariaDB are started once a run (or once a file, when that is run alone).
 */
export function eachDatabase(body: (name: DatabaseName, open: <T = unknown>() => Promise<TestDatabase<T>>) => void): void {
  for (const name of NAMES) {
    suite(name, () => {
      const closing: Closing[] = []
      afterEach(async () => {
        while (closing.length > 0) await closing.pop()?.()
      })
      body(name, () => make(name, closing))
    })
  }
}

export interface TestMetadata {
  readonly metadata: Metadata
  readonly options: DatabaseOptions
  readonly bus: Bus
  readonly queue: Queue
  readonly change: Changer
  /** Another node's handle on the same metadata. */
  again(): Metadata
}

/** As `eachDatabase`, each with all tables of the metadata, a started bus, and a queue that starts when the test says so. */
export function eachMetadata(body: (name: DatabaseName, open: (queue?: QueueOptions) => Promise<TestMetadata>) => void): void {
  for (const name of NAMES) {
    suite(name, () => {
      const closing: Closing[] = []
      afterEach(async () => {
        while (closing.length > 0) await closing.pop()?.()
      })
      body(name, (settings) => openTest(name, closing, settings))
    })
  }
}

async function openTest(name: DatabaseName, closing: Closing[], settings?: QueueOptions): Promise<TestMetadata> {
  const { database, options, again } = await makeMigrated(name, closing)
  const bus = makeBus(database)
  const queue = makeQueue(database.kysely, settings)
  closing.push(
    () => queue.close(),
    () => bus.close(),
  )
  await bus.start()
  return { metadata: database, options, bus, queue, change: makeChanger(database, { bus, queue }), again }
}

/** Metadata on SQLite alone, for tests whose subject is something else. The caller closes it: `close()`. */
export async function sqliteMetadata(settings?: QueueOptions): Promise<TestMetadata & { close(): Promise<void> }> {
  const closing: Closing[] = []
  const opened = await openTest('sqlite', closing, settings)
  const close = async () => {
    while (closing.length > 0) await closing.pop()?.()
  }
  return { ...opened, close }
}
