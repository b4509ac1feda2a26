/** A bare PostgreSQL on a copy of a project's directory: what the server's own start and copy are measured against. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

/** Program that this process runs. */
export const programOf = (pid: number): string => readlinkSync(`/proc/${pid}/exe`)

/** Volumes of a data directory, not those half made or half removed. */
export const volumesOf = (dataDir: string): string[] =>
  readdirSync(join(dataDir, 'projects'))
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(dataDir, 'projects', name))

export function templateOf(dataDir: string): string {
  const [name] = readdirSync(join(dataDir, 'templates')).filter((entry) => !entry.startsWith('.'))
  if (name === undefined) throw new Error('there is no template')
  return join(dataDir, 'templates', name)
}

export const copy = (from: string, to: string): void => void execFileSync('cp', ['-a', '--reflink=auto', '--sparse=always', '--', from, to])

/** Files and directories, each. */
export function fsyncAll(path: string): void {
  if (statSync(path).isDirectory()) for (const name of readdirSync(path)) fsyncAll(join(path, name))
  const handle = openSync(path, 'r')
  fsyncSync(handle)
  closeSync(handle)
}

const POLL_MS = 2

export class Bare {
  readonly #program: string
  readonly #uid: number
  readonly sockets = mkdtempSync(join(tmpdir(), 'sovra-bs-'))
  #child: ChildProcess | null = null

  /** `uid`: who it runs as, where we are root. */
  constructor(program: string, uid: number) {
    this.#program = program
    this.#uid = uid
    chmodSync(this.sockets, 0o777)
  }

  /** Lets everybody in by its socket. */
  trust(volume: string): void {
    writeFileSync(join(volume, 'pg_hba.conf'), 'local all all trust\n')
    chownSync(join(volume, 'pg_hba.conf'), this.#uid, this.#uid)
  }

  give(volume: string): void {
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', '-h', `${this.#uid}:${this.#uid}`, '--', volume])
  }

  /** Starts it and answers its first statement. */
  async firstQuery(volume: string, sql: string): Promise<void> {
    const drop = process.getuid?.() === 0 ? [`--reuid=${this.#uid}`, `--regid=${this.#uid}`, '--clear-groups'] : []
    const command = ['--no-new-privs', '--pdeathsig=KILL', '--', this.#program, '-D', volume, '-k', this.sockets]
    const child = spawn('setpriv', [...drop, ...command], { env: { PATH: '/usr/bin:/bin' }, stdio: 'ignore' })
    this.#child = child
    for (;;) {
      if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode} on ${volume}`)
      if (existsSync(join(this.sockets, '.s.PGSQL.5432'))) {
        const client = new pg.Client({ host: this.sockets, user: 'postgres', database: 'postgres' })
        client.on('error', () => {})
        try {
          await client.connect()
          await client.query(sql)
          await client.end()
          return
        } catch (error) {
          // Starting up still, or its socket is bound and nobody listens yet.
          if (!['57P03', 'ECONNREFUSED'].includes((error as { code?: string }).code ?? '')) throw error
        }
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (!child || child.exitCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGINT')
    await ended
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.sockets, { recursive: true, force: true })
  }
}
