import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { isAlive } from './alive.ts'
import { fail } from './errors.ts'

/** Held for the life of the process. */
export interface Lock {
  /** What a second start is told. */
  announce(url: string): void
  release(): void
}

interface Holder {
  readonly pid: number
  readonly url: string
}

const SQLITE_BUSY = 5
const STARTING = 'still starting'
// The holder writes who it is right after it has the lock: a second start that comes in between looks again.
const TRIES = 40
const EVERY = 25
const LOOKS = 4

// A directory of its own, its owner's alone: under a keeper the server may write beside it, never here.
const files = (dir: string) => ({ folder: join(dir, 'lock'), database: join(dir, 'lock/lock.db'), note: join(dir, 'lock/lock.json') })

/**
 * One server for one data directory. The lock is SQLite's exclusive one on an empty database: the kernel holds it for the process and gives it
 * back when that ends, however it ends, so that there is no stale lock to take over and no race about it.
 * @param shown what people know the directory as.
 * @throws SovraError `already_running` with pid and URL of the holder.
 */
export async function acquireLock(dir: string, shown = dir): Promise<Lock> {
  const { note } = files(dir)
  const database = await openPatiently(dir, shown)
  const write = (url: string) => {
    const fresh = `${note}.${randomBytes(6).toString('hex')}`
    writeFileSync(fresh, JSON.stringify({ pid: process.pid, url } satisfies Holder), { mode: 0o644, flag: 'wx' })
    renameSync(fresh, note)
  }
  write(STARTING)
  let held = true
  return {
    announce: (url) => write(url),
    release() {
      if (!held) return
      held = false
      rmSync(note, { force: true })
      database.close()
    },
  }
}

/** Who holds the lock of this directory; null when nobody does. */
export async function lockHolder(dir: string): Promise<Holder | null> {
  const database = open(dir)
  if (database === null) return await holder(files(dir).note)
  database.close()
  return null
}

/** Somebody who only asked for the holder has the lock for a moment too: a few looks decide. */
async function openPatiently(dir: string, shown: string): Promise<DatabaseSync> {
  for (let looks = 0; looks < LOOKS; looks++) {
    const database = open(dir)
    if (database !== null) return database
    await pause(EVERY)
  }
  throw fail('already_running', { dir: shown, ...(await holder(files(dir).note)) })
}

function open(dir: string): DatabaseSync | null {
  const at = files(dir)
  let database: DatabaseSync | undefined
  try {
    mkdirSync(at.folder, { recursive: true, mode: 0o755 })
    database = new DatabaseSync(at.database, { timeout: 0 })
    database.exec('BEGIN EXCLUSIVE')
    return database
  } catch (cause) {
    database?.close()
    if ((cause as { errcode?: number }).errcode === SQLITE_BUSY) return null
    throw fail('directory_unusable', { dir, reason: `lock.db: ${cause instanceof Error ? cause.message : 'unknown'}` }, { cause })
  }
}

async function holder(note: string): Promise<Holder> {
  let found: Holder | null = null
  for (let tries = 0; tries < TRIES; tries++) {
    found = readHolder(note)
    if (found && isAlive(found.pid)) return found
    await pause(EVERY)
  }
  // It may run in another container, where its pid is another one.
  return found ?? { pid: 0, url: STARTING }
}

function readHolder(note: string): Holder | null {
  try {
    const found = JSON.parse(readFileSync(note, 'utf8')) as Partial<Holder>
    return typeof found.pid === 'number' && typeof found.url === 'string' ? { pid: found.pid, url: found.url } : null
  } catch {
    return null
  }
}
