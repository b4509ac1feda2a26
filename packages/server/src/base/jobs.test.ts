import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, test } from 'node:test'
import { sql } from 'kysely'
import { eachDatabase, eachMetadata } from '../../../../test/databases.ts'
import { until } from '../../../../test/until.ts'
import type { Database } from './db/database.ts'
import { table } from './db/schema.ts'
import { type JobTables, jobsShape } from './job-table.ts'
import { type Job, makeQueue, type Queue, type QueueOptions } from './jobs.ts'

const MODULE = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
/** A worker that claims one job and then hangs, until it is killed. */
const HANGING = `
  const { openDatabase } = await import(${MODULE('./db/database.ts')})
  const { makeQueue } = await import(${MODULE('./jobs.ts')})
  const queue = makeQueue(openDatabase(JSON.parse(process.argv[1])).kysely, { poll: 20 })
  queue.handle('k', { lease: 400, run: () => new Promise(() => process.stdout.write('running')) })
  queue.start()
`

/** Each test has its own queues on one database: closed when it ends. */
function queues() {
  const made: Queue[] = []
  return {
    make(db: Database<never> | Database<JobTables>, options: QueueOptions = {}): Queue {
      const queue = makeQueue((db as Database<JobTables>).kysely, { poll: 10, ...options })
      made.push(queue)
      return queue
    },
    close: () => Promise.all(made.map((queue) => queue.close())),
  }
}

type Row = { state: string; attempts: number; last_error: string | null; wanted: number }
const rows = (db: { kysely: unknown }, key = 'a') =>
  sql<Row>`select state, attempts, last_error, wanted from jobs where kind = 'k' and ${sql.ref('key')} = ${key} order by created_at, id`
    .execute(db.kysely as never)
    .then((result) => result.rows)
const add = (db: Database<JobTables>, queue: Queue, key = 'a', more: { payload?: unknown; due_at?: number } = {}) =>
  db.transaction((trx) => queue.enqueue(trx, { kind: 'k', key, ...more }))

eachMetadata((name, openMetadata) => {
  // Also of a test that failed: a queue that goes on would keep the process.
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })
  const open = async () => {
    const opened = await openMetadata()
    const all = queues()
    closing.push(all.close)
    return {
      db: opened.metadata as unknown as Database<JobTables>,
      again: () => opened.again() as unknown as Database<JobTables>,
      options: opened.options,
      ...all,
    }
  }

  test('runs what was queued, with its payload; nothing of a transaction that was rolled back', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    const ran: Job[] = []
    queue.handle('k', { run: async (job) => void ran.push(job) })
    queue.start()
    await db
      .transaction(async (trx) => {
        await queue.enqueue(trx, { kind: 'k', key: 'never' })
        throw new Error('no')
      })
      .catch(() => {})
    await add(db, queue, 'a', { payload: { n: 1 } })
    queue.poke()
    await until(async () => (await rows(db))[0]?.state === 'done')
    assert.deepEqual(
      ran.map(({ key, payload, attempt }) => ({ key, payload, attempt })),
      [{ key: 'a', payload: { n: 1 }, attempt: 1 }],
    )
    await close()
  })

  test('one unfinished job per kind and key: joined while it waits, run once more when it was running', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    let runs = 0
    const first = Promise.withResolvers<void>()
    queue.handle('k', {
      run: async () => {
        if (++runs === 1) await first.promise
      },
    })
    await Promise.all(Array.from({ length: 8 }, () => add(db, queue)))
    assert.deepEqual(
      (await rows(db)).map(({ state, wanted }) => [state, wanted]),
      [['queued', 8]],
    )
    queue.start()
    await until(() => runs === 1)
    await add(db, queue)
    await add(db, queue)
    first.resolve()
    await until(async () => (await rows(db)).every(({ state }) => state === 'done'))
    assert.equal(runs, 2)
    await add(db, queue)
    queue.poke()
    await until(async () => (await rows(db)).length === 2 && (await rows(db)).every(({ state }) => state === 'done'))
    assert.equal(runs, 3)
    await close()
  })

  test('fails, backs off, and ends', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    const attempts: number[] = []
    const ends: unknown[] = []
    queue.handle('k', {
      maxAttempts: 3,
      backoff: 5,
      run: async (job) => {
        attempts.push(job.attempt)
        throw Object.assign(new Error('quotes a value of somebody'), { code: 'E1' })
      },
      failed: (job) => void ends.push(job.key),
    })
    await add(db, queue)
    queue.start()
    await until(() => ends.length > 0)
    assert.deepEqual(attempts, [1, 2, 3])
    assert.deepEqual(
      (await rows(db)).map(({ state, attempts: count, last_error }) => [state, count, last_error]),
      [['failed', 3, 'Error E1']],
    )
    await close()
  })

  test('the pause grows and the clock decides', async () => {
    const { db, make, close } = await open()
    let time = 1_000_000
    const queue = make(db, { now: () => time })
    let runs = 0
    queue.handle('k', {
      backoff: 10_000,
      run: async () => {
        runs++
        throw new Error('again')
      },
    })
    await add(db, queue, 'a', { due_at: 1_000_100 })
    queue.start()
    const due = async () =>
      (await db.kysely.selectFrom('jobs').select('due_at').where('state', '=', 'queued').executeTakeFirst())?.due_at ?? 0
    assert.equal(await due(), 1_000_100)
    time = 1_000_100
    queue.poke()
    await until(async () => runs === 1 && (await due()) > time)
    assert.ok((await due()) - time >= 5_000 && (await due()) - time <= 10_000)
    time = await due()
    queue.poke()
    await until(async () => runs === 2 && (await due()) > time)
    assert.ok((await due()) - time >= 10_000 && (await due()) - time <= 20_000)
    assert.equal(await queue.nextDue(), await due())
    await close()
  })

  test('no more at once than its concurrency, also over several processes each its own', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    let now = 0
    let most = 0
    let done = 0
    queue.handle('k', {
      concurrency: 3,
      run: async () => {
        most = Math.max(most, ++now)
        await new Promise((resolve) => setImmediate(resolve))
        now--
        done++
      },
    })
    for (let n = 0; n < 20; n++) await add(db, queue, `key ${n}`)
    queue.start()
    await until(() => done === 20)
    assert.ok(most <= 3)
    await close()
  })

  test('of several workers one runs each job', async () => {
    const { db, again, make, close } = await open()
    const ran: string[] = []
    const workers = [make(db), make(again()), make(again())]
    for (let n = 0; n < 30; n++) await add(db, workers[0]!, `key ${n}`)
    for (const worker of workers) {
      worker.handle('k', { concurrency: 5, run: async (job) => void ran.push(job.key) })
      worker.start()
    }
    await until(async () => (await db.kysely.selectFrom('jobs').select('id').where('state', '!=', 'done').execute()).length === 0)
    assert.equal(ran.length, 30)
    assert.equal(new Set(ran).size, 30)
    await close()
  })

  test('a long run keeps its lease by heartbeats', async () => {
    const { db, again, make, close } = await open()
    // A slow clock: heartbeats come ten times as often as the lease needs them, so that a busy machine loses none that counts.
    const now = () => Math.round(Date.now() / 10)
    const [one, two] = [make(db, { now }), make(again(), { now })]
    let runs = 0
    const end = Promise.withResolvers<void>()
    for (const queue of [one, two]) {
      queue.handle('k', {
        lease: 300,
        run: async () => {
          runs++
          await end.promise
        },
      })
    }
    await add(db, one)
    one.start()
    await until(() => runs === 1)
    two.start()
    const lease = async () => (await db.kysely.selectFrom('jobs').select('leased_until').executeTakeFirstOrThrow()).leased_until ?? 0
    const first = await lease()
    await until(async () => (await lease()) > first + 60)
    end.resolve()
    await until(async () => (await rows(db))[0]?.state === 'done')
    assert.equal(runs, 1)
    await close()
  })

  test("a killed worker's job is claimed by another when the lease ends", async () => {
    const { db, options, make, close } = await open()
    const queue = make(db)
    await add(db, queue)
    const worker = spawn(process.execPath, ['--input-type=module', '-e', HANGING, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(worker.stdout, 'data')
    worker.kill('SIGKILL')
    await once(worker, 'exit')
    const attempts: number[] = []
    queue.handle('k', { lease: 400, run: async (job) => void attempts.push(job.attempt) })
    queue.start()
    await until(async () => (await rows(db))[0]?.state === 'done')
    assert.deepEqual(attempts, [2])
    await close()
  })

  test('one that is never given up is run again after any number of failures', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    await add(db, queue)
    await db.kysely.updateTable('jobs').set({ attempts: 10_000 }).execute()
    let runs = 0
    queue.handle('k', {
      maxAttempts: Number.POSITIVE_INFINITY,
      backoffMost: 5,
      run: async () => {
        if (++runs === 1) throw new Error('not yet')
      },
    })
    queue.start()
    await until(async () => (await rows(db))[0]?.state === 'done')
    assert.equal(runs, 2)
    await close()
  })

  test('one whose process dies each time has an end too', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    await add(db, queue)
    await db.kysely.updateTable('jobs').set({ state: 'running', attempts: 2, leased_by: 'gone', leased_until: 1 }).execute()
    const ends: string[] = []
    queue.handle('k', { maxAttempts: 2, run: async () => assert.fail('ran'), failed: (job) => void ends.push(job.key) })
    queue.start()
    await until(() => ends.length === 1)
    assert.equal((await rows(db))[0]?.state, 'failed')
    await close()
  })

  test('who joins a job whose process died at its last attempt is not forgotten', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    await add(db, queue)
    await db.kysely.updateTable('jobs').set({ state: 'running', attempts: 2, leased_by: 'gone', leased_until: 1 }).execute()
    await add(db, queue)
    queue.handle('k', { maxAttempts: 2, run: async () => {} })
    queue.start()
    await until(async () => (await rows(db))[0]?.state === 'done')
    await close()
  })

  test('a node takes back what its former processes were at, and nothing of another node', async () => {
    const { db, make, close } = await open()
    const [former, other, heir] = ['a', 'b', 'a'].map((node) => make(db, { node })) as [Queue, Queue, Queue]
    const held = () => new Promise<void>((resolve) => ends.push(resolve))
    const ends: (() => void)[] = []
    const seen: string[] = []
    for (const [queue, kind] of [
      [former, 'k'],
      [other, 'l'],
    ] as const) {
      queue.handle(kind, { lease: 60_000, run: held })
      await db.transaction((trx) => queue.enqueue(trx, { kind, key: 'a' }))
      queue.start()
    }
    await until(() => ends.length === 2)
    for (const kind of ['k', 'l']) heir.handle(kind, { run: async ({ key }) => void seen.push(`${kind} ${key}`) })
    await heir.takeBack()
    heir.start()
    await until(async () => (await rows(db))[0]?.state === 'done')
    assert.deepEqual(seen, ['k a'])
    for (const end of ends) end()
    await close()
  })

  test('a lease that another took aborts the run, whose end is not written', async () => {
    const { db, make, close } = await open()
    const queue = make(db)
    const aborted = Promise.withResolvers<void>()
    queue.handle('k', {
      lease: 90,
      run: (_job, signal) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            aborted.resolve()
            resolve(undefined)
          }),
        ),
    })
    await add(db, queue)
    queue.start()
    await until(async () => (await rows(db))[0]?.state === 'running')
    await db.kysely
      .updateTable('jobs')
      .set({ leased_by: 'another', leased_until: Date.now() + 60_000 })
      .execute()
    await aborted.promise
    await close()
    assert.equal((await rows(db))[0]?.state, 'running')
  })

  test('close aborts what runs and gives it back uncounted', async () => {
    const { db, make } = await open()
    const queue = make(db)
    queue.handle('k', {
      run: (_job, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('closing')))),
    })
    await add(db, queue)
    queue.start()
    await until(async () => (await rows(db))[0]?.state === 'running')
    await queue.close()
    assert.deepEqual(
      (await rows(db)).map(({ state, attempts }) => [state, attempts]),
      [['queued', 0]],
    )
  })

  test('without polling: pokes and what falls due', async () => {
    const { db, make, close } = await open()
    const queue = make(db, { poll: 0 })
    let runs = 0
    queue.handle('k', { run: async () => (++runs < 3 ? { again_at: Date.now() + 20 } : undefined) })
    queue.start()
    await add(db, queue)
    queue.poke()
    await until(() => runs === 3)
    await close()
  })

  if (name !== 'postgresql') return

  test('in a schema of its own, as in a cluster of a project', async () => {
    const { db, make, close } = await open()
    await sql`create schema sovrabase`.execute(db.kysely)
    await sql`alter table jobs set schema sovrabase`.execute(db.kysely)
    const queue = make(db, { schema: 'sovrabase' })
    let runs = 0
    queue.handle('k', { run: async () => void runs++ })
    await add(db, queue)
    queue.start()
    await until(() => runs === 1)
    await close()
  })
})

eachDatabase((_name, open) => {
  test('runs over a bare handle with a jobs table', async () => {
    const { database } = await open<JobTables>()
    await table('jobs', jobsShape).run(database.kysely as never, database.dialect)
    const queue = makeQueue(database.kysely, { poll: 10 })
    let runs = 0
    queue.handle('k', { run: async () => void runs++ })
    await add(database, queue)
    queue.start()
    await until(() => runs === 1)
    await queue.close()
  })
})
