import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachMetadata } from '../../../../test/databases.ts'
import { until } from '../../../../test/until.ts'
import { SYSTEM } from '../metadata/change.ts'
import type { Metadata } from '../metadata/open.ts'
import { appendEvent, makeBus } from './events.ts'

const event = (subject: string) => ({
  name: 'node.started',
  subject,
  actor: 'system',
  actor_kind: 'system',
  organisation_id: null,
  project_ref: null,
  before: null,
  after: null,
  ip: null,
  request_id: null,
  created_at: 1,
})

const tell = (metadata: Metadata, subject: string) => metadata.transaction((trx) => appendEvent(metadata, trx, event(subject)))

eachMetadata((name, open) => {
  test('listeners of this process have heard when the change answers, by name', async () => {
    const { change, bus } = await open()
    const heard: string[] = []
    bus.on(['project.created'], (row) => void heard.push(`one ${row.subject} ${row.actor} ${row.after}`))
    bus.on('*', (row) => void heard.push(`all ${row.name}`))
    await change({ id: 'm1', kind: 'member', ip: '192.0.2.1', requestId: 'r1' }, async (c) => {
      await c.event({ name: 'project.created', subject: 'p1', after: { name: 'x' } })
      await c.event({ name: 'node.started' })
    })
    assert.deepEqual(heard.sort(), ['all node.started', 'all project.created', 'one p1 m1 {"name":"x"}'])
  })

  test('nothing is told of a change that was rolled back', async () => {
    const { change, bus } = await open()
    const heard: string[] = []
    bus.on('*', (row) => void heard.push(row.name))
    const failing = change(SYSTEM, async (c) => {
      await c.event({ name: 'project.created' })
      throw new Error('no')
    })
    await assert.rejects(failing, /no/)
    await change(SYSTEM, (c) => c.event({ name: 'node.stopped' }))
    assert.deepEqual(heard, ['node.stopped'])
  })

  test("a listener's error goes no further", async () => {
    const { change, bus } = await open()
    const heard: string[] = []
    bus.on('*', () => {
      throw new Error('thrown')
    })
    bus.on('*', () => Promise.reject(new Error('rejected')))
    const end = bus.on('*', (row) => void heard.push(row.name))
    await change(SYSTEM, (c) => c.event({ name: 'node.started' }))
    end()
    await change(SYSTEM, (c) => c.event({ name: 'node.stopped' }))
    assert.deepEqual(heard, ['node.started'])
  })

  test('another node hears without being poked; what was before its start it does not hear', async () => {
    const { metadata, again } = await open()
    await tell(metadata, 'before')
    const other = makeBus(again(), { poll: name === 'postgresql' ? 3_600_000 : 30 })
    const heard: (string | null)[] = []
    other.on('*', (row) => void heard.push(row.subject))
    await other.start()
    try {
      // On PostgreSQL by NOTIFY alone: its connection may still be on the way, after which it looks for itself.
      await tell(metadata, 'a')
      await tell(metadata, 'b')
      await until(() => heard.length >= 2)
      assert.deepEqual(heard, ['a', 'b'])
    } finally {
      await other.close()
    }
  })

  test('a great many are heard once each, in order', async () => {
    const { metadata, bus } = await open()
    const heard: string[] = []
    bus.on('*', (row) => void heard.push(String(row.subject)))
    const all = Array.from({ length: 1_200 }, (_, n) => String(n))
    await metadata.transaction(async (trx) => {
      for (let at = 0; at < all.length; at += 100) {
        const rows = all.slice(at, at + 100).map((subject) => ({ ...event(subject), id: `id-${subject}` }))
        await trx.insertInto('events').values(rows).execute()
      }
    })
    await Promise.all([bus.poke(), bus.poke(), bus.poke()])
    assert.deepEqual(heard, all)
  })

  if (name === 'sqlite') return

  test('an event that commits after one with a higher number is not lost, nor told twice', async () => {
    const { metadata, bus, again } = await open()
    const heard: (string | null)[] = []
    bus.on('*', (row) => void heard.push(row.subject))
    const slow = again()
    const hold = Promise.withResolvers<void>()
    const written = Promise.withResolvers<void>()
    const late = slow.transaction(async (trx) => {
      await appendEvent(slow, trx, event('late'))
      written.resolve()
      await hold.promise
    })
    await written.promise
    await slow
      .transaction(async (trx) => {
        await appendEvent(slow, trx, event('never'))
        throw new Error('rolled back')
      })
      .catch(() => {})
    await tell(metadata, 'early')
    await bus.poke()
    assert.deepEqual(heard, ['early'])
    // A bus that starts now, between both, will hear of the late one too.
    const second = makeBus(again(), { poll: 30 })
    const heardBySecond: (string | null)[] = []
    second.on('*', (row) => void heardBySecond.push(row.subject))
    await second.start()
    hold.resolve()
    await late
    await bus.poke()
    await until(() => heardBySecond.length > 0)
    await tell(metadata, 'last')
    await bus.poke()
    assert.deepEqual(heard, ['early', 'late', 'last'])
    await second.poke()
    assert.deepEqual(heardBySecond, ['late', 'last'])
    await second.close()
  })

  test('numbers that never appear are forgotten after the longest transaction', async () => {
    const { metadata, again } = await open()
    let time = 1_000
    const bus = makeBus(again(), { now: () => time, poll: 3_600_000 })
    await bus.start()
    const heard: (string | null)[] = []
    bus.on('*', (row) => void heard.push(row.subject))
    await metadata.transaction((trx) =>
      trx
        .insertInto('events')
        .values({ ...event('ten'), id: 'ten', seq: 10 })
        .execute(),
    )
    await bus.poke()
    time += 600_001
    await metadata.transaction((trx) =>
      trx
        .insertInto('events')
        .values({ ...event('five'), id: 'five', seq: 5 })
        .execute(),
    )
    await bus.poke()
    assert.deepEqual(heard, ['ten'])
    await bus.close()
  })
})
