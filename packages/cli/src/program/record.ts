/**
 * What a command over many projects has done so far, kept on this machine until all is done: the same command, run again after it was
 * interrupted or failed in some, goes on with it. Refs and marks only, no rows and no keys.
 */
import { createHash, randomUUID } from 'node:crypto'
import { closeSync, fdatasyncSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { stop } from '../terminal/errors.ts'
import { localTime } from '../terminal/output.ts'

/** ms after which it must be said that an old run is meant: the same words a week later may mean to do it anew. */
const FRESH = 23 * 3_600_000

export interface Mark {
  readonly text: string
  readonly at: number
}

export interface RunRecord {
  /** The same over all attempts at this run. */
  readonly id: string
  /** The run goes on that began then; null: it begins now. */
  readonly since: string | null
  last(ref: string): Mark | undefined
  mark(ref: string, text: string): void
  /** Nothing is left to do: the next time is another run. */
  finish(): void
  close(): void
}

export interface RunOptions {
  readonly resume?: boolean
  readonly anew?: boolean
}

/** ~/.local/state/sovrabase/runs, or below XDG_STATE_HOME. */
const folder = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local/state'), 'sovrabase', 'runs')

interface Line {
  readonly ref?: string
  readonly text?: string
  readonly at: number
  readonly id?: string
}

/** A line that a crash has cut is none. */
function readLines(file: string): Line[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Line]
    } catch {
      return []
    }
  })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** One at a time: two would both find a project undone. */
function lock(file: string): () => void {
  for (;;) {
    try {
      const handle = openSync(file, 'wx', 0o600)
      writeSync(handle, String(process.pid))
      closeSync(handle)
      return () => rmSync(file, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const pid = Number(readFileSync(file, 'utf8'))
    if (pid > 0 && isAlive(pid)) throw stop('run_under_way', { pid, file })
    rmSync(file, { force: true })
  }
}

function begin(file: string, { resume, anew }: RunOptions): Pick<RunRecord, 'id' | 'since'> & { marks: Map<string, Mark> } {
  if (anew) rmSync(file, { force: true })
  const [head, ...lines] = readLines(file)
  const marks = new Map(lines.flatMap(({ ref, text, at }) => (ref && text ? [[ref, { text, at }] as const] : [])))
  if (!head?.id) return { id: randomUUID(), since: null, marks: new Map() }
  const since = localTime(new Date(head.at).toISOString()) ?? ''
  if (!resume && Date.now() - head.at > FRESH) {
    const done = [...marks.values()].filter(({ text }) => text === 'done').length
    throw stop('run_old', { since, done })
  }
  return { id: head.id, since, marks }
}

/** `what`: all that makes it this command and no other. `run_under_way`, `run_old`, `run_unrecorded`. */
export function openRecord(what: unknown, options: RunOptions): RunRecord {
  const name = createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 32)
  const file = join(folder(), `${name}.jsonl`)
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    const unlock = lock(`${file}.lock`)
    try {
      return writing(file, begin(file, options), unlock)
    } catch (error) {
      unlock()
      throw error
    }
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error
    throw stop('run_unrecorded', { reason: error.message }, { cause: error })
  }
}

function writing(file: string, { id, since, marks }: ReturnType<typeof begin>, unlock: () => void): RunRecord {
  const handle = openSync(file, 'a', 0o600)
  const write = (line: Line) => {
    // Begins a line of its own: the last one may have been cut.
    writeSync(handle, `\n${JSON.stringify(line)}`)
    fdatasyncSync(handle)
  }
  if (since === null) write({ id, at: Date.now() })
  return {
    id,
    since,
    last: (ref) => marks.get(ref),
    mark(ref, text) {
      const at = Date.now()
      write({ ref, text, at })
      marks.set(ref, { text, at })
    },
    finish: () => rmSync(file, { force: true }),
    close() {
      closeSync(handle)
      unlock()
    },
  }
}
