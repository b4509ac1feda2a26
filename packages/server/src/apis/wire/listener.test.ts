import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect as tlsConnect } from 'node:tls'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Certificate, selfSigned } from '../../../../../test/certificate.ts'
import { until } from '../../../../../test/until.ts'
import { fail } from '../../base/errors.ts'
import { silentLog } from '../../base/log.ts'
import { makeMetrics } from '../../base/metrics.ts'
import { startCluster, type TestCluster } from '../../runtime/engines/postgres/wire/cluster.testing.ts'
import { type Entry, holdEntry, newEntry } from '../../runtime/entry.ts'
import type { Service } from '../../runtime/services.ts'
import { Budget } from './budget.ts'
import { wireApi } from './listener.ts'
import { cancelPacket, errorFields, frame, SSL_REQUEST, startupPacket } from './messages.ts'
import type { WireListener, WireOptions } from './options.ts'

const REF = 'abcdefghijklmnopqrst'
const OTHER = 'bcdefghijklmnopqrstu'
const KEPT = 'keptkeptkeptkeptkept'
const BROKEN = 'brokenbrokenbrokenbr'
const UNKNOWN = 'zzzzzzzzzzzzzzzzzzzz'
const PASSWORD = 'correct horse'
const HOUR = 3_600_000

const directory = mkdtempSync(join(tmpdir(), 'sovra-wire-test-'))
let cluster: TestCluster
let certificate: Certificate
let admin: pg.Client
const listeners: WireListener[] = []
const entries = new Map<string, Entry>()

const entryOf = (ref: string): Entry => {
  const entry = entries.get(ref) ?? { ...newEntry({ id: ref, project: ref, name: 'db' } as Service), state: 'awake' as const }
  entry.endpoint ??= { service: ref, host: cluster.host, port: 5432, run: '1' }
  entries.set(ref, entry)
  return entry
}

interface Started extends WireListener {
  readonly wakes: string[]
}

async function listen(options: Partial<WireOptions> = {}, failures = 0): Promise<Started> {
  const wakes: string[] = []
  const listener = await wireApi({
    listen: { host: '127.0.0.1', port: 0 },
    resolve: async (ref) => (ref === UNKNOWN ? null : { connections: ref === OTHER ? 2 : 50, keepIdle: ref === KEPT }),
    hold: async (ref, service, reason) => {
      wakes.push(`${ref}/${service}`)
      if (ref === BROKEN) throw fail('internal')
      return holdEntry(entryOf(ref), reason, Date.now, () => {})
    },
    budget: new Budget({ limit: failures, window: HOUR, now: Date.now }),
    log: silentLog,
    ...options,
  })
  listeners.push(listener)
  return Object.assign(listener, { wakes })
}

const config = (listener: WireListener, more: pg.ClientConfig = {}): pg.ClientConfig => ({
  host: '127.0.0.1',
  port: listener.port,
  user: `postgres.${REF}`,
  password: PASSWORD,
  database: 'postgres',
  ...more,
})

async function client(listener: WireListener, more: pg.ClientConfig = {}): Promise<pg.Client> {
  const made = new pg.Client(config(listener, more))
  made.on('error', () => {})
  await made.connect()
  return made
}

const refusal = (listener: WireListener, more: pg.ClientConfig = {}) =>
  client(listener, more).then(
    async (made) => {
      await made.end()
      throw new Error('it was let in')
    },
    (error: pg.DatabaseError) => ({ code: error.code, message: error.message, hint: error.hint, severity: error.severity }),
  )

const psqlArgs = (listener: WireListener, more = '') => [
  '-X',
  '-A',
  '-t',
  '-v',
  'ON_ERROR_STOP=1',
  `host=127.0.0.1 port=${listener.port} user=postgres.${REF} ${more}`,
]
const psqlEnv = { ...process.env, PGPASSWORD: PASSWORD }
const psql = async (listener: WireListener, sql: string, more = '') =>
  (await promisify(execFile)('psql', [...psqlArgs(listener, more), '-c', sql], { env: psqlEnv })).stdout.trim()

const RUNNING = `from pg_stat_activity where position($1 in query) > 0 and state = 'active' and pid <> pg_backend_pid()`
const running = async (text: string): Promise<number> => (await admin.query(`select count(*)::int as n ${RUNNING}`, [text])).rows[0].n

/** A client that speaks bytes. */
class Raw {
  readonly socket: Socket
  bytes = Buffer.alloc(0)
  ended = false

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.on('data', (chunk) => {
      this.bytes = Buffer.concat([this.bytes, chunk])
    })
    this.socket.on('error', () => {})
    for (const event of ['end', 'close']) this.socket.on(event, () => (this.ended = true))
  }

  send(...pieces: Buffer[]): this {
    this.socket.write(Buffer.concat(pieces))
    return this
  }

  /** The next frame, or null at the end. */
  async frame(): Promise<Buffer | null> {
    await until(() => this.ended || (this.bytes.length >= 5 && this.bytes.length > this.bytes.readUInt32BE(1)))
    if (this.bytes.length < 5 || this.bytes.length <= this.bytes.readUInt32BE(1)) return null
    const whole = this.bytes.subarray(0, this.bytes.readUInt32BE(1) + 1)
    this.bytes = this.bytes.subarray(whole.length)
    return whole
  }

  async closed(): Promise<void> {
    await until(() => this.ended)
    this.socket.destroy()
  }
}

const startup = (user: string, more: Record<string, string> = {}) =>
  startupPacket(196_608, new Map(Object.entries({ user, database: 'postgres', ...more })))
const initial = (mechanism: string, text: string) => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return frame('p', Buffer.concat([Buffer.from(`${mechanism}\0`), length, Buffer.from(text)]))
}

before(async () => {
  cluster = await startCluster()
  certificate = selfSigned(directory, ['localhost', '127.0.0.1'])
  admin = await cluster.admin()
  const has = (await admin.query(`select 1 from pg_roles where rolname = 'postgres'`)).rows.length > 0
  await admin.query(`${has ? 'alter' : 'create'} role postgres login createrole password '${PASSWORD}'`)
  await admin.query('grant all on schema public to postgres')
})

after(async () => {
  for (const listener of listeners) await listener.close()
  await admin?.end()
  await cluster?.stop()
  rmSync(directory, { recursive: true })
})

test('npm pg: queries, parameters, prepared statements, large results, transactions', async () => {
  const listener = await listen()
  const one = await client(listener)
  assert.deepEqual((await one.query('select current_user, current_database()')).rows, [
    { current_user: 'postgres', current_database: 'postgres' },
  ])
  for (let i = 0; i < 3; i++)
    assert.equal((await one.query({ name: 'sum', text: 'select $1::int + 1 as n', values: [i] })).rows[0].n, i + 1)
  const large = await one.query(`select i, repeat('x', 1000) as t from generate_series(1, 20000) i`)
  assert.equal(large.rows.length, 20_000)
  const sent = 'y'.repeat(5_000_000)
  assert.equal((await one.query('select length($1) as n', [sent])).rows[0].n, 5_000_000)
  await one.query('begin')
  await assert.rejects(one.query('select 1/0'), { code: '22012' })
  await one.query('rollback')
  await one.end()
  await until(() => listener.sessions(REF) === 0)
  assert.deepEqual([entryOf(REF).holds, entryOf(REF).links.size, listener.wakes], [0, 0, [`${REF}/db`]])
  const nowhere = await refusal(listener, { database: 'nowhere' })
  assert.equal(nowhere.code, '3D000')
})

test('psql: default database, COPY both ways, a large script', async () => {
  const listener = await listen()
  assert.equal(await psql(listener, 'select current_database()'), 'postgres')
  await psql(listener, 'create table public.copied(i int, t text)')
  const rows = Array.from({ length: 50_000 }, (_, i) => `${i}\trow ${i}`).join('\n')
  const copying = spawn('psql', [...psqlArgs(listener), '-c', 'copy public.copied from stdin'], {
    env: psqlEnv,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  copying.stdin.end(`${rows}\n`)
  copying.stdout.resume()
  assert.equal(await new Promise((resolve) => copying.once('exit', resolve)), 0)
  const { stdout } = await promisify(execFile)(
    'psql',
    [...psqlArgs(listener), '-c', 'copy (select * from public.copied order by i) to stdout'],
    { env: psqlEnv, maxBuffer: 1 << 26 },
  )
  assert.equal(stdout.trim(), rows)
  await psql(listener, 'drop table public.copied')
})

test('LISTEN and NOTIFY pass', async () => {
  const listener = await listen()
  const [one, two] = [await client(listener), await client(listener)]
  const heard = new Promise<string | undefined>((resolve) => one.once('notification', (message) => resolve(message.payload)))
  await one.query('listen news')
  await two.query(`notify news, 'hello'`)
  assert.equal(await heard, 'hello')
  await Promise.all([one.end(), two.end()])
})

test('cancels reach their own statement: npm pg, psql, and nobody with a wrong key', async () => {
  const listener = await listen()
  const [one, two] = [await client(listener), await client(listener)]
  const keyOf = (made: pg.Client) => made as unknown as { processID: number; secretKey: number }
  assert.notEqual(keyOf(one).processID, (await one.query('select pg_backend_pid() as pid')).rows[0].pid)
  const sleeping = [one, two].map((made) => made.query('select pg_sleep(60)'))
  const outcomes = sleeping.map((query) =>
    query.then(
      () => 'done',
      (error: pg.DatabaseError) => error.code,
    ),
  )
  await until(
    async () =>
      (await admin.query(`select count(*)::int as n from pg_stat_activity where query like 'select pg_sleep%' and usename = 'postgres'`))
        .rows[0].n === 2,
  )
  const secret = Buffer.alloc(4)
  secret.writeInt32BE(keyOf(two).secretKey)
  for (const packet of [
    cancelPacket(keyOf(one).processID, Buffer.from('nope')),
    cancelPacket(1, Buffer.alloc(4)),
    cancelPacket(keyOf(one).processID, Buffer.alloc(200)),
  ]) {
    const wrong = new Raw(listener.port).send(packet)
    await wrong.closed()
    assert.equal(wrong.bytes.length, 0)
  }
  const right = new Raw(listener.port).send(cancelPacket(keyOf(two).processID, secret))
  await right.closed()
  assert.equal(await outcomes[1], '57014')
  assert.equal(await running('pg_sleep(60)'), 1)
  const canceller = new pg.Client(config(listener)) as unknown as { cancel(client: pg.Client, query: unknown): void }
  canceller.cancel(one, (one as unknown as { _getActiveQuery(): unknown })._getActiveQuery())
  assert.equal(await outcomes[0], '57014')
  await Promise.all([one.end(), two.end()])
  const child = spawn('psql', [...psqlArgs(listener), '-c', `select pg_sleep(60), 'by psql'`], {
    env: psqlEnv,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk) => (said += chunk))
  await until(async () => (await running('by psql')) === 1)
  child.kill('SIGINT')
  await new Promise((resolve) => child.once('exit', resolve))
  assert.match(said, /canceling statement due to user request/)
})

test('a password change, end to end', async () => {
  const listener = await listen()
  const one = await client(listener)
  await one.query(`create role changing login password 'before'`)
  const as = (password: string) => ({ user: `changing.${REF}`, password })
  const open = await client(listener, as('before'))
  await one.query(`alter role changing password 'after'`)
  assert.equal((await open.query('select 1 as one')).rows[0].one, 1)
  assert.equal((await refusal(listener, as('before'))).code, '28P01')
  await (await client(listener, as('after'))).end()
  await open.end()
  await one.query('drop role changing')
  await one.end()
})

test('the budget of failed sign-ins: then refused without a wake', async () => {
  const listener = await listen({}, 3)
  await Promise.all(Array.from({ length: 20 }, async () => (await client(listener)).end()))
  for (let i = 0; i < 3; i++) assert.equal((await refusal(listener, { password: 'wrong' })).code, '28P01')
  const wakes = listener.wakes.length
  const refused = await refusal(listener)
  assert.deepEqual([refused.code, refused.severity], ['28000', 'FATAL'])
  assert.match(refused.message, /too many failed sign-ins/)
  assert.match(String(refused.hint), /Try again in 60 min/)
  assert.equal((await refusal(listener, { user: `postgres.${UNKNOWN}` })).code, '28000')
  assert.equal(listener.wakes.length, wakes)
})

test('psql that asks for the password does not use the budget up', async () => {
  const listener = await listen({}, 2)
  for (let i = 0; i < 4; i++) {
    const asked = new Raw(listener.port).send(startup(`postgres.${REF}`))
    await asked.frame()
    asked.socket.destroy()
    await until(() => entryOf(REF).holds === 0)
    await (await client(listener)).end()
  }
})

test('an unknown project looks like a wrong password, byte for byte', async () => {
  const listener = await listen()
  const found = await refusal(listener, { password: 'wrong' })
  assert.deepEqual(await refusal(listener, { user: `postgres.${UNKNOWN}` }), found)
  assert.deepEqual(found, {
    code: '28P01',
    message: 'password authentication failed for user "postgres"',
    hint: undefined,
    severity: 'FATAL',
  })
  assert.equal(listener.wakes.length, 1)

  const final = (nonce: string, binding = 'biws') =>
    frame('p', Buffer.from(`c=${binding},r=${nonce},p=${Buffer.alloc(32).toString('base64')}`))
  const talks: ((raw: Raw) => Promise<(Buffer | null)[]>)[] = [
    async (raw) => [await raw.frame(), await raw.send(initial('SCRAM-SHA-256', 'nonsense')).frame()],
    async (raw) => [await raw.frame(), await raw.send(initial('SCRAM-SHA-1', 'n,,n=,r=abc')).frame()],
    async (raw) => [await raw.frame(), await raw.send(initial('SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,n=,r=abc')).frame()],
    async (raw) => [await raw.frame(), await raw.send(frame('Q', Buffer.from('select 1\0'))).frame()],
    async (raw) => [await raw.frame(), await raw.send(frame('p', Buffer.alloc(9000))).frame()],
    ...['same', 'other', 'binding'].map((kind) => async (raw: Raw) => {
      const offer = await raw.frame()
      const challenge = (await raw.send(initial('SCRAM-SHA-256', 'n,,n=,r=abc')).frame())!.toString('latin1')
      const nonce = /r=([^,]+)/.exec(challenge)?.[1] ?? ''
      const shape = Buffer.from(
        challenge.replace(/r=[^,]+,s=[^,]+/, (text) => String(text.length)),
        'latin1',
      )
      return [offer, shape, await raw.send(final(kind === 'other' ? `${nonce}x` : nonce, kind === 'binding' ? 'eSws' : 'biws')).frame()]
    }),
  ]
  for (const [index, talk] of talks.entries()) {
    for (const more of [{}, { '_pq_.odd': '1' }] as Record<string, string>[]) {
      const answers = await Promise.all(
        [REF, UNKNOWN].map(async (ref) => {
          const raw = new Raw(listener.port).send(startup(`postgres.${ref}`, more))
          const first = Object.keys(more).length > 0 ? await raw.frame() : null
          const said = [first, ...(await talk(raw))].map((message) => message?.toString('latin1'))
          await raw.closed()
          return said
        }),
      )
      assert.deepEqual(answers[0], answers[1], `talk ${index}`)
      assert.ok(answers[0]?.at(-1)?.startsWith('E'))
    }
  }
  const salt = async () =>
    /s=([^,]+)/.exec(
      (await (async () => {
        const raw = new Raw(listener.port).send(startup(`postgres.${UNKNOWN}`))
        await raw.frame()
        const challenge = await raw.send(initial('SCRAM-SHA-256', 'n,,n=,r=abc')).frame()
        raw.socket.destroy()
        return challenge
      })())!.toString('latin1'),
    )?.[1]
  assert.equal(await salt(), await salt())
})

test('refusals have words: no project, our roles, other protocols, a project that does not start', async () => {
  const listener = await listen()
  assert.match((await refusal(listener, { user: 'postgres' })).hint ?? '', /postgres\.<ref>/)
  assert.match((await refusal(listener, { user: `sovrabase_admin.${REF}` })).message, /may not sign in here/)
  assert.equal((await refusal(listener, { user: `postgres.${BROKEN}` })).code, '57P03')
  assert.deepEqual(listener.wakes, [`${BROKEN}/db`])
  const old = new Raw(listener.port).send(startupPacket(131_072, new Map([['user', 'x']])))
  assert.equal(errorFields((await old.frame())!).get('C'), '0A000')
  await old.closed()
  const gss = new Raw(listener.port).send(Buffer.from([0, 0, 0, 8, 4, 210, 22, 48]))
  await until(() => gss.bytes.toString() === 'N')
  gss.bytes = Buffer.alloc(0)
  assert.equal((await gss.send(startup(`postgres.${REF}`)).frame())?.[0], 0x52)
  gss.socket.destroy()
})

test('hundreds of random and truncated start-ups harm nobody', async () => {
  const metrics = makeMetrics()
  const listener = await listen({ metrics, limits: { startup: 300 } })
  const kept = await client(listener)
  const good = startup(`postgres.${REF}`)
  let seed = 42
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed % below
  }
  const packets = Array.from({ length: 400 }, (_, i) => {
    const bytes = i % 4 === 0 ? Buffer.from(Array.from({ length: random(200) }, () => random(256))) : Buffer.from(good)
    if (i % 4 === 1) return bytes.subarray(0, random(bytes.length))
    for (let n = 0; i % 4 === 2 && n < 5; n++) bytes[random(bytes.length)] = random(256)
    return i % 4 === 3 ? Buffer.concat([bytes, Buffer.from(Array.from({ length: 50 }, () => random(256)))]) : bytes
  })
  for (let i = 0; i < packets.length; i += 50) {
    await Promise.all(packets.slice(i, i + 50).map((packet) => new Raw(listener.port).send(packet).closed()))
  }
  assert.equal((await kept.query('select 1 as one')).rows[0].one, 1)
  await kept.end()
  await until(() => listener.sessions(REF) === 0 && entryOf(REF).holds === 0)
  assert.match((await metrics.render()).text, /sovrabase_wire_connections_total\{result="malformed"\} [1-9]/)
  metrics.close()
})

test('who does not speak is shown out; one address cannot take all places', async () => {
  const listener = await listen({ limits: { startup: 200, pendingPerAddress: 3 } })
  const silent = [1, 2, 3, 4, 5].map(() => new Raw(listener.port))
  await Promise.all(silent.map((raw) => raw.closed()))
  const slow = new Raw(listener.port).send(startup(`postgres.${REF}`))
  assert.equal((await slow.frame())?.[0], 0x52)
  await slow.closed()
  await until(() => entryOf(REF).holds === 0)
  await (await client(listener)).end()
})

test('limits of connections: of a project, of the listener', async () => {
  const listener = await listen({ limits: { connections: 3 } })
  const two = [await client(listener, { user: `postgres.${OTHER}` }), await client(listener, { user: `postgres.${OTHER}` })]
  const over = await refusal(listener, { user: `postgres.${OTHER}` })
  assert.deepEqual([over.code, over.message], ['53300', 'too many connections to this project (limit 2)'])
  const third = await until(() => client(listener).catch(() => null))
  assert.match((await refusal(listener)).message, /too many connections to this server/)
  await Promise.all([...two, third].map((made) => made.end()))
  await until(() => listener.sessions(OTHER) === 0)
  await (await client(listener, { user: `postgres.${OTHER}` })).end()
})

test('TLS: verified, required, direct; without a certificate it is refused', async () => {
  const listener = await listen({ tls: certificate })
  const secured = await client(listener, { ssl: { ca: certificate.cert } })
  assert.equal((await secured.query('select 1 as one')).rows[0].one, 1)
  await secured.end()
  const verify = `sslmode=verify-full sslrootcert=${certificate.certFile}`
  assert.equal(await psql(listener, 'select 1', verify), '1')
  const bound = await client(listener, { ssl: { ca: certificate.cert }, enableChannelBinding: true })
  await bound.end()
  await assert.rejects(psql(listener, 'select 1', `${verify} channel_binding=require`), /channel binding is required/)
  const direct = tlsConnect({ port: listener.port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols: ['postgresql'] })
  direct.write(startup(`postgres.${REF}`))
  const [first] = (await new Promise<Buffer>((resolve) => direct.once('data', resolve))) as unknown as number[]
  assert.equal(first, 0x52)
  direct.destroy()
  const nameless = tlsConnect({ port: listener.port, host: '127.0.0.1', ca: certificate.cert })
  nameless.on('error', () => {})
  await new Promise((resolve) => nameless.once('close', resolve))
  const request = Buffer.alloc(8)
  request.writeUInt32BE(8, 0)
  request.writeUInt32BE(SSL_REQUEST, 4)
  const stuffed = new Raw(listener.port).send(request, startup(`postgres.${REF}`))
  await stuffed.closed()
  assert.equal(stuffed.bytes.length, 0)
  const plain = await listen()
  await assert.rejects(client(plain, { ssl: { ca: certificate.cert } }), /does not support SSL/)
  assert.equal(await psql(plain, 'select 1', 'sslmode=prefer'), '1')
  await assert.rejects(listen({ tls: { cert: 'x', key: 'y' } }), { code: 'wire_tls_invalid' })
})

test('a statement in TLS is cancelled, and its certificate can be renewed', async () => {
  const listener = await listen({ tls: certificate })
  listener.useTls(certificate)
  const child = spawn('psql', [...psqlArgs(listener, 'sslmode=require'), '-c', `select pg_sleep(60), 'in tls'`], {
    env: psqlEnv,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk) => (said += chunk))
  await until(async () => (await running('in tls')) === 1)
  child.kill('SIGINT')
  await new Promise((resolve) => child.once('exit', resolve))
  assert.match(said, /canceling statement/)
})

test('an idle session does not hold its project, and is told when that sleeps', async () => {
  const listener = await listen()
  const idle = await client(listener)
  const busy = await client(listener)
  const errors: pg.DatabaseError[] = []
  idle.on('error', (error) => errors.push(error as pg.DatabaseError))
  await idle.query('select 1')
  const entry = entryOf(REF)
  assert.deepEqual([entry.holds, entry.links.size], [0, 2])
  const outcome = busy.query('select pg_sleep(60)').catch((error: pg.DatabaseError) => error)
  const links = [...entry.links]
  await until(async () => (await running('pg_sleep(60)')) === 1)
  assert.ok(links.every((link) => link.keepsAwake !== true))
  for (const link of links) link.end('sleep')
  await until(() => errors.some((error) => error.code === '57P01'))
  assert.match(errors[0]?.message ?? '', /went to sleep; reconnect to wake it/)
  await until(() => entry.links.size === 1)
  await admin.query(`select pg_cancel_backend(pid) ${RUNNING}`, ['pg_sleep(60)'])
  assert.equal(((await outcome) as pg.DatabaseError).code, '57014')
  await until(() => entry.links.size === 0 && listener.sessions(REF) === 0)
  const kept = await client(listener, { user: `postgres.${KEPT}` })
  assert.ok([...entryOf(KEPT).links].every((link) => link.keepsAwake))
  await kept.end()
})

test('a cluster that ends under a session: its own words, or ours', async () => {
  const listener = await listen()
  const one = await client(listener)
  const told = new Promise<pg.DatabaseError>((resolve) => one.once('error', (error) => resolve(error as pg.DatabaseError)))
  const { pid } = (await one.query('select pg_backend_pid() as pid')).rows[0]
  await admin.query('select pg_terminate_backend($1)', [pid])
  assert.match((await told).message, /terminating connection due to administrator command/)
  await until(() => listener.sessions(REF) === 0)
})

test('half-open and vanished clients leave nothing behind', async () => {
  const listener = await listen()
  const vanished = await client(listener)
  const { pid } = (await vanished.query('select pg_backend_pid() as pid')).rows[0]
  ;(vanished as unknown as { connection: { stream: Socket } }).connection.stream.resetAndDestroy()
  const gone = async (id: number) => (await admin.query('select 1 from pg_stat_activity where pid = $1', [id])).rows.length === 0
  await until(() => gone(pid))
  const half = await client(listener)
  const stream = (half as unknown as { connection: { stream: Socket } }).connection.stream
  const answered = half.query(`select repeat('x', 3000000) as t, pg_backend_pid() as pid`)
  stream.end()
  const row = (await answered).rows[0]
  assert.equal(row.t.length, 3_000_000)
  await until(() => gone(row.pid))
  await until(() => listener.sessions(REF) === 0)
})

test('drain: no new ones, idle ones are told, a running statement may finish', async () => {
  const listener = await listen()
  const [idle, busy] = [await client(listener), await client(listener)]
  const told = new Promise<pg.DatabaseError>((resolve) => idle.once('error', (error) => resolve(error as pg.DatabaseError)))
  const last = busy.query(`select 'last' as word, pg_sleep(0.5)`)
  await until(async () => (await running(`'last'`)) === 1)
  const closing = listener.close(10_000)
  assert.equal((await told).code, '57P01')
  assert.equal((await last).rows[0].word, 'last')
  await closing
  await assert.rejects(client(listener))
})
