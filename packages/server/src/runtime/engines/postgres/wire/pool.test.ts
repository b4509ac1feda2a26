import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { until } from '../../../../../../../test/until.ts'
import { isSovraError } from '../../../../base/errors.ts'
import { asRole, asRoleStream, asRoleTransaction, type Identity } from '../as-role.ts'
import { prepare, startCluster, type TestCluster } from './cluster.testing.ts'
import { fieldsOfError, isRetriable } from './errors.ts'
import type { RunOptions } from './job.ts'
import type { PoolLimits } from './options.ts'
import { PipelinePool } from './pool.ts'
import type { Param } from './protocol.ts'

const USERS = 20
const quick: RunOptions = { quick: true }
let cluster: TestCluster
let pool: PipelinePool

const makePool = (limits: Partial<PoolLimits> = {}, port = 5432): PipelinePool =>
  new PipelinePool({
    host: cluster.host,
    port,
    user: 'sovrabase_gateway',
    password: 'gateway-password',
    database: 'postgres',
    searchPath: 'public',
    limits,
    connectTimeout: 2_000,
  })

async function withPool<R>(limits: Partial<PoolLimits>, fn: (own: PipelinePool) => Promise<R>): Promise<R> {
  const own = makePool(limits)
  try {
    return await fn(own)
  } finally {
    await own.close(0)
  }
}

async function admin(...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = await cluster.admin()
  try {
    let rows: Record<string, unknown>[] = []
    for (const sql of statements) rows = (await client.query(sql)).rows
    return rows
  } finally {
    await client.end()
  }
}

const sub = (user: number): string => `00000000-0000-4000-8000-${String(user).padStart(12, '0')}`
const as = (role: string, user = 0, more: Partial<Identity> = {}): Identity => ({
  role,
  claimsJson: JSON.stringify({ sub: sub(user), role }),
  searchPath: 'public',
  ...more,
})
const user = (n: number): Identity => as('authenticated', n)
const SERVICE = as('service_role')
const statement = (sql: string, ...params: Param[]) => ({ sql, params })
const text = async (own: PipelinePool, identity: Identity, sql: string, params: Param[] = [], options: RunOptions = quick) =>
  (await asRole(own, identity, { sql, params }, options)).text()
const sqlstate = (code: string) => (error: unknown) => fieldsOfError(error)?.sqlstate === code
const code = (wanted: string) => (error: unknown) => isSovraError(error) && error.code === wanted

before(async () => {
  cluster = await startCluster(['fsync=off'])
  await prepare(cluster, USERS)
  await admin(
    `update public.todos set owner = ('00000000-0000-4000-8000-' || lpad((id % ${USERS})::text, 12, '0'))::uuid`,
    `insert into public.memo select ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'secret of ' || i from generate_series(0, ${USERS - 1}) i`,
    'grant select on public.memo to service_role',
    'create table public.notes(id serial primary key, body text, raw bytea)',
    'grant all on public.notes to service_role, authenticated; grant usage on sequence public.notes_id_seq to service_role, authenticated',
  )
  pool = makePool()
})
after(async () => {
  await pool?.close(1_000)
  await cluster?.stop()
})

describe('identities', () => {
  test('role and claims hold for the statement and are gone after it', async () => {
    const sql = `select json_build_array(current_user, current_setting('request.jwt.claims', true)::json ->> 'sub', current_setting('request.headers', true), current_setting('request.method', true))::text`
    const identity = as('authenticated', 7, { headersJson: '{"x":"é"}', method: 'GET', path: '/todos' })
    assert.deepEqual(JSON.parse((await text(pool, identity, sql)) ?? ''), ['authenticated', sub(7), '{"x":"é"}', 'GET'])
    assert.deepEqual(JSON.parse((await text(pool, as('anon', 1), sql)) ?? '').slice(0, 3), ['anon', sub(1), ''])
    await withPool({ shared: 1 }, async (own) => {
      await text(own, user(1), 'select 1')
      const bare = await own.run(
        { step: { sql: 'select 1', params: [], scope: '' }, scope: '' },
        statement('select current_user::text || current_setting($1, true)', 'request.jwt.claims'),
        quick,
      )
      assert.equal(bare.text(), 'sovrabase_gateway')
    })
  })

  test('further settings and another search path hold for the statement', async () => {
    const identity = as('editor', 1, { searchPath: 'hidden', timezone: 'America/Lima', settings: [['realtime.topic', 'room']] })
    assert.equal(
      await text(pool, identity, `select (select name from things) || current_setting('realtime.topic') || current_setting('timezone')`),
      'seen by editors onlyroomAmerica/Lima',
    )
    await assert.rejects(text(pool, as('editor', 1, { settings: [['role', 'service_role']] }), 'select 1'), code('invalid_request'))
  })

  test('no request runs as one of our own roles, and none without a grant', async () => {
    for (const role of [
      '',
      'none',
      'NONE',
      'postgres',
      'authenticator',
      'sovrabase_admin',
      'sovrabase_gateway',
      'supabase_admin',
      'pg_read_all_data',
    ])
      await assert.rejects(text(pool, as(role), 'select 1'), code('role_not_allowed'), role)
    await assert.rejects(text(pool, as('nobody_here'), 'select 1'), sqlstate('22023'))
    await admin('create role stranger')
    await assert.rejects(text(pool, as('stranger'), 'select 1'), sqlstate('42501'))
  })

  test('a statement is parsed under its role: a schema that only this role may use', async () => {
    await withPool({ shared: 1 }, async (own) => {
      const sql = 'select name from hidden.things'
      await assert.rejects(text(own, user(1), sql), sqlstate('42501'))
      assert.equal(await text(own, as('editor', 1), sql), 'seen by editors only')
      await assert.rejects(text(own, user(1), sql), sqlstate('42501'))
    })
  })

  test('alternating roles do not plan again', async () => {
    await withPool({ shared: 1 }, async (own) => {
      const sql = 'select count(*) from public.todos where id = $1'
      for (let i = 0; i < 30; i++) await text(own, as(i % 2 === 0 ? 'authenticated' : 'editor', 1), sql, [i])
      const plans = await text(
        own,
        user(1),
        `select json_agg(generic_plans + custom_plans)::text from pg_prepared_statements where statement = $1 and generic_plans > 5`,
        [sql],
      )
      assert.deepEqual(JSON.parse(plans ?? ''), [15, 15])
    })
  })

  test('a policy helper that memoises the user never shows a row of another', async () => {
    await withPool({ shared: 1 }, async (own) => {
      const seen = await Promise.all(
        Array.from({ length: 400 }, (_, i) => text(own, user(i % USERS), 'select string_agg(secret, $1) from public.memo', [','])),
      )
      for (const [i, secrets] of seen.entries()) assert.equal(secrets, `secret of ${i % USERS}`)
    })
  })

  test('what a function sets for the session is forgotten before the next request, also after one that failed', async () => {
    const remember = `select coalesce(nullif(current_setting('memo.session', true), ''), set_config('memo.session', $1, false))`
    await withPool({ shared: 1 }, async (own) => {
      for (const round of [0, 1, 2, 3]) {
        const mine = text(own, user(round), remember, [`user ${round}`], quick)
        const fails = text(own, user(round + 1), 'select (1 / $1::int)::text', [0], quick).catch(() => 'failed')
        const next = text(own, user(round + 1), remember, [`user ${round + 1}`], quick)
        assert.deepEqual(await Promise.all([mine, fails, next]), [`user ${round}`, 'failed', `user ${round + 1}`])
      }
      for (const round of [0, 1])
        await asRoleTransaction(own, user(round), async (tx) => {
          const seen = await tx.query(statement(remember, `user ${round}`))
          assert.equal(seen.text(0, 0), `user ${round}`)
        })
    })
  })
})

describe('errors', () => {
  test('an error touches only its own request', async () => {
    await withPool({ shared: 1 }, async (own) => {
      const all = await Promise.allSettled(
        Array.from({ length: 100 }, (_, i) =>
          text(own, user(1), i % 3 === 0 ? 'select (1 / $1::int)::text' : 'select $1::int::text', [i % 3 === 0 ? 0 : i]),
        ),
      )
      for (const [i, one] of all.entries()) {
        if (i % 3 === 0) assert.equal(one.status === 'rejected' && fieldsOfError(one.reason)?.sqlstate, '22012')
        else assert.equal(one.status === 'fulfilled' && one.value, String(i))
      }
    })
  })

  test('a failed parse does not fail those behind it with another error', async () => {
    await withPool({ shared: 1 }, async (own) => {
      const all = await Promise.allSettled(Array.from({ length: 20 }, () => text(own, user(1), 'select nowhere from public.todos')))
      for (const one of all) assert.equal(one.status === 'rejected' && fieldsOfError(one.reason)?.sqlstate, '42703')
      assert.equal(await text(own, user(1), 'select 1'), '1')
    })
  })

  test('fields of the error are PostgreSQL’s', async () => {
    const error = await text(pool, SERVICE, 'insert into public.todos(id, owner, title) values (1, $1, $2)', [sub(1), 'x'], {}).catch(
      (e) => e,
    )
    const fields = fieldsOfError(error)
    assert.equal(fields?.sqlstate, '23505')
    assert.equal(fields?.constraint, 'todos_pkey')
    assert.equal(fields?.table, 'todos')
    assert.match(fields?.detail ?? '', /already exists/)
    assert.ok(!String(error).includes('already exists'), 'values stay out of the message')
  })

  test('10,000 mixed requests with failures all get their own answer', async () => {
    const kinds = [
      (i: number) =>
        text(pool, user(i % USERS), `select $1::int || ':' || (select auth.uid())`, [i]).then((v) =>
          assert.equal(v, `${i}:${sub(i % USERS)}`),
        ),
      (i: number) => assert.rejects(text(pool, user(1), 'select $1::int / 0', [i]), sqlstate('22012')),
      (i: number) => assert.rejects(text(pool, as('anon'), `select 'x${i % 50}' from missing_${i % 7}`), sqlstate('42P01')),
      (i: number) =>
        text(pool, user(i % USERS), 'select count(*) from public.todos', [], { readOnly: true }).then((v) => assert.equal(v, '30')),
      (i: number) =>
        text(pool, SERVICE, 'insert into public.notes(body) values ($1) returning body', [`n${i}`], {}).then((v) =>
          assert.equal(v, `n${i}`),
        ),
      (i: number) =>
        assert.rejects(text(pool, SERVICE, 'insert into public.notes(id) values ($1)', ['x'], {}), sqlstate('22P02'), String(i)),
      (i: number) =>
        text(pool, as('editor', i % USERS), 'select repeat($1, $2::int)', ['ab', i % 3_000]).then((v) =>
          assert.equal(v?.length, 2 * (i % 3_000)),
        ),
    ]
    let next = 0
    const worker = async () => {
      while (next < 10_000) {
        const i = next++
        await kinds[(i * 31) % kinds.length]!(i)
      }
    }
    await Promise.all(Array.from({ length: 200 }, worker))
    assert.equal(pool.load.open, 0)
  })

  test('COPY is refused, and so is what cannot be sent', async () => {
    await assert.rejects(text(pool, SERVICE, 'copy public.notes from stdin', [], {}), code('statement_unsupported'))
    await assert.rejects(text(pool, SERVICE, 'copy public.notes to stdout', [], {}), code('statement_unsupported'))
    await assert.rejects(text(pool, user(1), 'select 1\0; select 2'), code('statement_unsupported'))
    await assert.rejects(text(pool, user(1), 'select 1', new Array(65_536).fill(1)), code('statement_unsupported'))
    await assert.rejects(text(pool, user(1), 'select 1; select 2'), sqlstate('42601'))
    assert.equal(await text(pool, user(1), 'select 3'), '3')
  })
})

describe('values', () => {
  test('unicode, bytes, null, numbers and booleans', async () => {
    const sql = 'select $1::text as a, $2::bytea as b, $3::text as c, $4::int as d, $5::boolean as e'
    const result = await asRole(pool, user(1), statement(sql, 'é\u{1F600}\n"', new Uint8Array([0, 1, 255]), null, -5, true), quick)
    assert.deepEqual(result.objects(), [{ a: 'é\u{1F600}\n"', b: '\\x0001ff', c: null, d: '-5', e: 't' }])
    assert.deepEqual(
      result.columns?.map((c) => c.type),
      [25, 17, 25, 23, 16],
    )
  })

  test('huge parameters and results, beside small ones', async () => {
    const long = 'é0123456'.repeat(1_000_000)
    const [length, ...small] = await Promise.all([
      text(pool, user(1), 'select length($1)', [long], {}),
      ...Array.from({ length: 50 }, (_, i) => text(pool, user(1), 'select $1', [String(i)])),
    ])
    assert.equal(length, String(long.length))
    assert.deepEqual(
      small,
      Array.from({ length: 50 }, (_, i) => String(i)),
    )
    assert.equal(await text(pool, user(1), 'select $1', [long]), long)
    await assert.rejects(
      text(pool, user(1), `select repeat('x', 2000000)`, [], { quick: true, maxBytes: 1_000_000 }),
      code('result_too_large'),
    )
  })

  test('results, errors and notices that are too large are passed over, not held', () =>
    withPool({ maxBytes: 4 << 20, exclusive: 1, shared: 1 }, async (own) => {
      const ask = (sql: string) => asRole(own, SERVICE, { sql, params: [] }, { exclusive: true })
      const tell = (how: string) => `do $$ begin raise ${how} '%', repeat('x', 8000000); end $$`
      await assert.rejects(ask(`select repeat('x', 8000000)`), code('result_too_large'))
      await assert.rejects(ask(`select repeat('x', 1000000) from generate_series(1, 20)`), code('result_too_large'))
      await assert.rejects(ask(tell('exception')), sqlstate('54000'))
      await ask(tell('notice'))
      assert.equal((await ask(`select length(repeat('x', 3000000)), repeat('y', 3000000)`)).text(0, 0), '3000000')
      assert.equal((await ask('select 1')).text(), '1')
      assert.equal(own.metrics.lost, 0)
    }))

  test('what still waits in the socket is not written over by what comes later', async () => {
    await withPool({ shared: 1 }, async (own) => {
      await text(own, user(0), 'select 1')
      const sizes = [3, 40_000, 700, 150_000, 20]
      const wanted: string[] = []
      const answers: Promise<string | null>[] = []
      for (let i = 0; i < 120; i++) {
        const value = `${i}:${String.fromCharCode(97 + (i % 26)).repeat(sizes[i % sizes.length]!)}`
        wanted.push(value)
        answers.push(text(own, user(i % USERS), 'select $1::text', [value]))
        if (i % 3 === 0) await new Promise((turn) => setImmediate(turn))
      }
      assert.deepEqual(await Promise.all(answers), wanted)
    })
  })

  test('counts of commands', async () => {
    const inserted = await asRole(pool, SERVICE, statement('insert into public.notes(body) select i::text from generate_series(1, 123) i'))
    assert.equal(inserted.affected, 123)
    assert.equal(inserted.rows, 0)
    assert.equal(inserted.columns, null)
    const read = await asRole(pool, SERVICE, statement('select i, i * 2 as j from generate_series(1, 1000) i'), quick)
    assert.deepEqual([read.rows, read.affected, read.text(999, 1), read.bytes(5, 0)?.toString()], [1_000, 1_000, '2000', '6'])
  })
})

describe('statements', () => {
  test('the least recently used are closed', async () => {
    await withPool({ shared: 1, statements: 16 }, async (own) => {
      for (let i = 0; i < 200; i++) assert.equal(await text(own, user(1), `select ${i}`), String(i))
      const mixed = await Promise.all(Array.from({ length: 200 }, (_, i) => text(own, user(1), `select ${i % 40}`)))
      assert.deepEqual(
        mixed,
        Array.from({ length: 200 }, (_, i) => String(i % 40)),
      )
      assert.ok(Number(await text(own, user(1), 'select count(*) from pg_prepared_statements')) <= 16)
      assert.ok(own.metrics.evicted > 180)
    })
  })

  test('DDL between: columns change, tables come and go', async () => {
    await withPool({ shared: 1 }, async (own) => {
      await admin('create table public.shape(a int); insert into public.shape values (1); grant select on public.shape to service_role')
      const sql = 'select * from public.shape'
      assert.equal((await asRole(own, SERVICE, statement(sql), quick)).columns?.length, 1)
      await admin('alter table public.shape add b text default $$x$$')
      const both = await Promise.all(Array.from({ length: 10 }, () => asRole(own, SERVICE, statement(sql), quick)))
      for (const result of both) assert.deepEqual(result.objects(), [{ a: '1', b: 'x' }])
      await asRoleTransaction(own, SERVICE, async (tx) => assert.equal((await tx.query(statement(sql))).width, 2))
      await admin('alter table public.shape drop a')
      await asRoleTransaction(own, SERVICE, async (tx) => assert.equal((await tx.query(statement(sql))).width, 1))
      await admin('drop table public.shape')
      await assert.rejects(text(own, SERVICE, sql), sqlstate('42P01'))
      await admin('create table public.shape(z int); grant select on public.shape to service_role')
      assert.equal((await asRole(own, SERVICE, statement(sql), quick)).columns?.[0]?.name, 'z')
      assert.ok(own.metrics.retried > 0)
    })
  })

  test('statements that vanished are parsed again; invalidate() forgets them', async () => {
    await withPool({ shared: 1 }, async (own) => {
      const ask = (i: number) => text(own, user(1), 'select $1::int + 1', [i])
      await ask(1)
      await own.run({ step: { sql: 'select 1', params: [], scope: '' }, scope: '' }, { ...statement('deallocate all'), once: true }, quick)
      assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map(ask)), ['2', '3', '4', '5', '6'])
      const waiting = [1, 2, 3].map(ask)
      own.invalidate()
      assert.deepEqual(await Promise.all([...waiting, ask(9)]), ['2', '3', '4', '10'])
      assert.equal(await text(own, user(1), 'select count(*) from pg_prepared_statements', [], quick), '4')
    })
  })
})

describe('transactions', () => {
  const count = async (body: string) => text(pool, SERVICE, 'select count(*) from public.notes where body = $1', [body])

  test('a later look decides, and a rejection leaves nothing written', async () => {
    const insert = (body: string) => statement('insert into public.notes(body) values ($1), ($1) returning id', body)
    await assert.rejects(
      asRoleTransaction(pool, SERVICE, async (tx) => {
        const result = await tx.query(insert('rejected'))
        if (result.rows !== 1) throw new Error('PGRST116')
      }),
      /PGRST116/,
    )
    assert.equal(await count('rejected'), '0')
    assert.equal(await asRoleTransaction(pool, SERVICE, async (tx) => (await tx.query(insert('kept'))).rows), 2)
    assert.equal(await count('kept'), '2')
    const role = await asRoleTransaction(pool, user(3), async (tx) => {
      await tx.query(statement('select 1'))
      return (await tx.query(statement('select current_user::text || auth.uid()'))).text()
    })
    assert.equal(role, `authenticated${sub(3)}`)
  })

  test('COMMIT travels with the last statement; where that fails nothing is written, and nothing may follow', async () => {
    const insert = (body: string) => statement('insert into public.notes(body) values ($1) returning id', body)
    const ends = async (body: string, first?: string) =>
      asRoleTransaction(pool, SERVICE, async (tx) => {
        if (first !== undefined) await tx.query(insert(first))
        return (await tx.query(insert(body), { last: true })).rows
      })
    assert.deepEqual([await ends('alone'), await ends('last', 'first')], [1, 1])
    assert.deepEqual([await count('alone'), await count('first'), await count('last')], ['1', '1', '1'])
    const failing = asRoleTransaction(pool, SERVICE, async (tx) => {
      await tx.query(insert('before a failure'))
      await tx.query(statement('select 1 / 0'), { last: true })
    })
    await assert.rejects(failing, sqlstate('22012'))
    assert.equal(await count('before a failure'), '0')
    const alone = asRoleTransaction(pool, SERVICE, (tx) => tx.query(statement('select 1 / 0'), { last: true }))
    await assert.rejects(alone, sqlstate('22012'))
    const admin = await cluster.admin()
    await admin.query(`create table public.chain (id int primary key, next int references public.chain deferrable initially deferred);
      grant all on public.chain to service_role`)
    for (const before of [[], [statement('select 1')]]) {
      const late = asRoleTransaction(pool, SERVICE, async (tx) => {
        for (const one of before) await tx.query(one)
        return tx.query(statement('insert into public.chain values (1, 2)'), { last: true })
      })
      await assert.rejects(late, sqlstate('23503'), 'what is only seen at COMMIT')
    }
    assert.equal((await admin.query('select from public.chain')).rowCount, 0)
    await admin.query('drop table public.chain')
    await admin.end()
    const following = asRoleTransaction(pool, SERVICE, async (tx) => {
      await tx.query(insert('ended'), { last: true })
      await tx.query(insert('too late'))
    })
    await assert.rejects(following, (error: unknown) => isSovraError(error, 'internal'))
    assert.deepEqual([await count('ended'), await count('too late')], ['1', '0'])
  })

  test('an error inside rolls back, even one that was caught', async () => {
    await assert.rejects(
      asRoleTransaction(pool, SERVICE, async (tx) => {
        await tx.query(statement('insert into public.notes(body) values ($1)', 'caught'))
        await tx.query(statement('select 1 / 0')).catch(() => undefined)
      }),
      sqlstate('22012'),
    )
    assert.equal(await count('caught'), '0')
    await assert.rejects(
      asRoleTransaction(pool, SERVICE, (tx) => tx.query(statement(`insert into public.notes(body) values ('r')`)), { readOnly: true }),
      sqlstate('25006'),
    )
  })

  test('statements before and after share the round trip and its fate', async () => {
    const guard = { sql: `select 1 / (current_setting('test.rows')::int - 2)`, params: [] }
    const insert = (body: string, n: number) => ({
      sql: `with t as (insert into public.notes(body) select $1 from generate_series(1, $2::int) returning id) select set_config('test.rows', count(*)::text, true) from t`,
      params: [body, n],
      before: [statement(`select set_config('test.seen', 'yes', true)`)],
      after: [guard],
    })
    assert.equal((await asRole(pool, SERVICE, insert('guarded', 1))).text(), '1')
    await assert.rejects(asRole(pool, SERVICE, insert('guarded', 2)), sqlstate('22012'))
    assert.equal(await count('guarded'), '1')
  })
})

describe('slow, long and large', () => {
  test('a read that is not quick after all gives way, is run again alone, and is known from then on', async () => {
    await withPool({ shared: 1, quickTimeout: 100 }, async (own) => {
      const sql = `select 'slept' from pg_sleep(0.3)`
      const [slow, ...others] = await Promise.all([
        text(own, user(1), sql),
        ...Array.from({ length: 20 }, (_, i) => text(own, user(1), 'select $1', [i])),
      ])
      assert.equal(slow, 'slept')
      assert.equal(others[19], '19')
      assert.equal(own.metrics.retried, 1)
      assert.equal(await text(own, user(1), sql), 'slept')
      assert.equal(own.metrics.retried, 1)
    })
  })

  test('a write that was called quick is not done on a shared connection', async () => {
    const body = 'not so quick'
    assert.equal(await text(pool, SERVICE, 'insert into public.notes(body) values ($1) returning body', [body]), body)
    assert.equal(await text(pool, SERVICE, 'select count(*) from public.notes where body = $1', [body]), '1')
    await assert.rejects(text(pool, SERVICE, 'delete from public.notes', [], { readOnly: true }), sqlstate('25006'))
    await assert.rejects(text(pool, SERVICE, 'update public.notes set body = body', [], { quick: true, readOnly: true }), sqlstate('25006'))
  })

  test('an unknown read is trusted once it was seen to be quick', async () => {
    await withPool({}, async (own) => {
      for (let i = 0; i < 3; i++) await text(own, user(1), 'select 5', [], { readOnly: true })
      assert.equal(own.load.shared, 0)
      await text(own, user(1), 'select 5', [], { readOnly: true })
      assert.equal(own.load.shared, 1)
    })
  })

  test('statement time-out of a request', async () => {
    await assert.rejects(text(pool, user(1), 'select pg_sleep(10)', [], { timeout: 50 }), sqlstate('57014'))
    assert.equal(await text(pool, user(1), `select current_setting('statement_timeout')`, [], {}), '30s')
  })

  test('a client that goes away cancels its statement, and only its own', async () => {
    await withPool({ exclusive: 4 }, async (own) => {
      const going = Array.from({ length: 40 }, (_, i) => {
        const controller = new AbortController()
        const slow = text(own, user(1), `select 'x' from pg_sleep(30)`, [], { signal: controller.signal })
        const other = text(own, user(1), 'select $1::text from pg_sleep(0.002)', [i], {})
        setImmediate(() => until(() => own.load.exclusiveBusy > 0, 5_000, 1 + (i % 7)).then(() => controller.abort()))
        return [assert.rejects(slow, code('request_cancelled')), other.then((value) => assert.equal(value, String(i)))]
      })
      await Promise.all(going.flat())
      const rows = await admin(
        `select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active' and pid <> pg_backend_pid()`,
      )
      assert.equal(rows[0]?.n, 0)
      const aborted = new AbortController()
      aborted.abort()
      await assert.rejects(text(own, user(1), 'select 1', [], { signal: () => aborted.signal }), code('request_cancelled'))
    })
  })

  test('a cancelled transaction is rolled back', async () => {
    const controller = new AbortController()
    const transaction = asRoleTransaction(
      pool,
      SERVICE,
      async (tx) => {
        await tx.query(statement(`insert into public.notes(body) values ('cancelled')`))
        setImmediate(() => controller.abort())
        await tx.query(statement('select pg_sleep(30)'))
      },
      { signal: controller.signal },
    )
    await assert.rejects(transaction, code('request_cancelled'))
    assert.equal(await text(pool, SERVICE, `select count(*) from public.notes where body = 'cancelled'`), '0')
  })

  test('a large result streams with back-pressure beside quick ones', async () => {
    const rows = 60_000
    const sql = `select json_build_object('n', i, 'x', repeat('y', 500))::text from generate_series(1, $1::int) i`
    const stream = await asRoleStream(pool, user(1), { sql, params: [rows] }, { open: '[', between: ',', close: ']' })
    const before = pool.metrics.bytesRead
    for (let i = 0; i < 200; i++) assert.equal(await text(pool, user(1), 'select $1', [i]), String(i))
    assert.ok(pool.metrics.bytesRead - before < 2_000_000, 'an unread stream holds its connection back')
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    const all = JSON.parse(Buffer.concat(chunks).toString()) as { n: number }[]
    assert.equal(all.length, rows)
    assert.equal(all[rows - 1]?.n, rows)
  })

  test('one huge value streams in pieces; a stream without rows; errors before and within', async () => {
    const collect = async (sql: string) => {
      let length = 0
      for await (const chunk of await asRoleStream(pool, user(1), statement(sql), { open: '[', close: ']' }))
        length += (chunk as Buffer).length
      return length
    }
    assert.equal(await collect(`select repeat('x', 30000000)`), 30_000_002)
    assert.equal(await collect(`select 'x' where false`), 2)
    assert.equal(await collect(`select null::text union all select ''`), 2)
    await assert.rejects(collect('select 1 / 0'), sqlstate('22012'))
    await assert.rejects(collect(`select (1 / (50000 - i))::text || repeat('x', 100) from generate_series(1, 60000) i`), sqlstate('22012'))
    await assert.rejects(collect('select 1, 2'), code('statement_unsupported'))
  })

  test('a stream whose reader goes away is cancelled and its connection used again', async () => {
    await withPool({ exclusive: 1 }, async (own) => {
      const stream = await asRoleStream(own, user(1), statement(`select repeat('x', 1000) from (select generate_series(1, 100000000)) s`))
      stream.destroy()
      assert.equal(await text(own, user(1), 'select 1', [], {}), '1')
      assert.equal(own.metrics.connected, 1)
      assert.equal(own.metrics.cancelled, 1)
    })
  })
})

describe('limits and ends', () => {
  test('exclusive connections run out: bounded waiting, then overloaded', async () => {
    await withPool({ exclusive: 2, waiting: 3, waitTimeout: 0 }, async (own) => {
      const controller = new AbortController()
      const sleeping = [1, 2].map(() => text(own, user(1), 'select pg_sleep(30)', [], { signal: controller.signal }).catch((e) => e))
      await until(() => own.load.exclusiveBusy === 2)
      const waiting = [1, 2, 3].map(() => text(own, user(1), 'select 1', [], {}).catch((e) => e))
      const refused = await text(own, user(1), 'select 1', [], {}).catch((e) => e)
      assert.ok(isSovraError(refused, 'overloaded'))
      assert.equal(refused.headers?.['retry-after'], '1')
      await until(() => {
        own.sweep()
        return own.load.waiting === 0
      })
      for (const one of await Promise.all(waiting)) assert.ok(isSovraError(one, 'overloaded'))
      assert.equal(await text(own, user(1), 'select 2'), '2', 'quick reads go on')
      controller.abort()
      await Promise.all(sleeping)
      assert.equal(await text(own, user(1), 'select 3', [], {}), '3')
    })
    await withPool({ shared: 1, outstanding: 10 }, async (own) => {
      await text(own, user(1), 'select 1')
      const all = await Promise.allSettled(Array.from({ length: 30 }, () => text(own, user(1), 'select 1')))
      assert.equal(all.filter((one) => one.status === 'rejected' && isSovraError(one.reason, 'overloaded')).length, 20)
    })
  })

  test('killed connections: reads are sent again, a write is not done twice, new connections come', async () => {
    await withPool({ shared: 2, exclusive: 4 }, async (own) => {
      let stop = false
      let writes = 0
      let lost = 0
      const worker = async (n: number) => {
        for (let i = 0; !stop; i++) {
          assert.equal(await text(own, user(n), 'select $1::int', [i]), String(i))
          try {
            await text(own, SERVICE, `insert into public.notes(body) values ('kill') returning 1`, [], {})
            writes++
          } catch (error) {
            assert.ok(isSovraError(error, 'connection_lost'), String(error))
            lost++
          }
        }
      }
      const workers = [1, 2, 3, 4, 5, 6].map(worker)
      for (let i = 0; i < 10; i++) {
        const target = writes + 20
        await until(() => writes > target)
        await admin(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'sovrabase_gateway'`)
      }
      stop = true
      await Promise.all(workers)
      const done = Number(await text(own, SERVICE, `select count(*) from public.notes where body = 'kill'`))
      assert.ok(done >= writes && done <= writes + lost, `${done} rows, ${writes} told, ${lost} lost`)
      assert.ok(own.metrics.lost >= 10)
    })
  })

  test('the cluster is gone: connection_lost that may be sent again; unused connections are closed', async () => {
    const absent = makePool({}, 5433)
    for (const options of [quick, {}]) {
      const error = await text(absent, user(1), 'select 1', [], options).catch((e) => e)
      assert.ok(isSovraError(error, 'connection_lost') && isRetriable(error))
      assert.equal(error.status, 503)
    }
    await absent.close()
    await withPool({ idleTimeout: -1 }, async (own) => {
      await Promise.all(
        Array.from({ length: 30 }, () => Promise.all([text(own, user(1), 'select 1'), text(own, user(1), 'select 1', [], {})])),
      )
      await until(() => {
        own.sweep()
        return own.load.shared === 1 && own.load.exclusive === 0
      })
      assert.equal(await text(own, user(1), 'select 1', [], {}), '1')
    })
  })

  test('close() lets what is open end, refuses what comes, and has a limit', async () => {
    const own = makePool()
    const open = [text(own, user(1), `select 'a' from pg_sleep(0.1)`, [], {}), text(own, user(1), 'select 1')]
    await until(() => own.load.exclusiveBusy === 1)
    const closing = own.close(5_000)
    await assert.rejects(text(own, user(1), 'select 1'), code('connection_lost'))
    assert.deepEqual(await Promise.all(open), ['a', '1'])
    await closing
    const hurried = makePool()
    const cut = text(hurried, user(1), 'select pg_sleep(30)', [], {})
    await until(() => hurried.load.exclusiveBusy === 1)
    await Promise.all([hurried.close(20), assert.rejects(cut, code('connection_lost'))])
    await until(async () => {
      const rows = await admin(
        `select from pg_stat_activity where usename = 'sovrabase_gateway' and query like '%pg_sleep(30)%' and state = 'active'`,
      )
      return rows.length === 0
    })
  })
})
