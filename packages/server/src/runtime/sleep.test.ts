import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { silentLog } from '../base/log.ts'
import { Connector, type Link } from './connect.ts'
import { makeMemory } from './memory.ts'
import { makeSleeper } from './sleep.ts'
import { type TinyDriver, type TinyEngine, tinyDriver, tinyEngine, tinyService } from './tiny.testing.ts'
import { makeWatch } from './watch.ts'

const MINUTE = 60_000
let driver: TinyDriver
let engine: TinyEngine
let connector: Connector
let time = 1_000_000

before(() => {
  driver = tinyDriver()
  engine = tinyEngine()
  connector = new Connector({
    node: 'n',
    engine: () => engine,
    driver: () => driver,
    load: async (id) => tinyService(id),
    find: async (project) => tinyService(project),
    seen: async () => {},
    maxAwake: 0,
    maxQueue: 10,
    patience: MINUTE,
    drain: MINUTE,
    log: silentLog,
    now: () => time,
  })
  driver.onExit((id, detail, run) => connector.crashed(id, detail, run))
})
after(async () => {
  await connector.close()
  await driver.close()
})

const hold = (id: string) => connector.hold(id, 'db', 'test')
const link = (more: Partial<Link> = {}): Link => ({ lastActivity: () => 0, busy: () => false, end: () => {}, ...more })
const stateOf = (id: string) => connector.entry(id)?.state

test('what has been idle for its time sleeps, what is held, off, kept or not idle long enough does not', async () => {
  const sleeper = makeSleeper({ connector, sleepAfter: ({ id }) => (id === 'off' ? 0 : MINUTE), log: silentLog, now: () => time })
  const held = await hold('held')
  for (const id of ['idle', 'off']) (await hold(id)).release()
  ;(await hold('kept')).relax(link({ keepsAwake: true }))
  ;(await hold('linked')).relax(link({ lastActivity: () => time - 10 }))
  time += MINUTE - 1
  ;(await hold('late')).release()
  await sleeper.look()
  assert.equal(stateOf('idle'), 'awake')
  time += 1
  await sleeper.look()
  assert.deepEqual(['idle', 'held', 'off', 'kept', 'late', 'linked'].map(stateOf), ['asleep', 'awake', 'awake', 'awake', 'awake', 'awake'])
  held.release()
  for (const id of ['held', 'off', 'kept', 'late', 'linked']) await connector.sleep(id, { force: true })
})

test('where a connection is open the engine has the last word: a statement may run without a byte passing', async () => {
  const sleeper = makeSleeper({ connector, sleepAfter: () => MINUTE, log: silentLog, now: () => time })
  ;(await hold('silent')).relax(link())
  time += 2 * MINUTE
  engine.lastActivity = time - 1
  await sleeper.look()
  assert.equal(stateOf('silent'), 'awake')
  engine.lastActivity = 0
  await sleeper.look()
  assert.equal(stateOf('silent'), 'asleep')
})

test('a disk is measured at each wake, and again only where somebody was at work', async () => {
  const watch = makeWatch({ connector, driver: () => driver, log: silentLog, every: 1, diskEvery: 10_000, now: () => time })
  const looked = async () => {
    engine.enforced.length = 0
    await watch.look()
    return engine.enforced.map(({ disk, quiet }) => (disk === undefined ? 'sessions' : quiet ? 'disk alone' : 'disk'))
  }
  ;(await hold('disk')).release()
  assert.deepEqual(await looked(), ['disk'])
  assert.deepEqual(await looked(), [])
  time += 10_000
  assert.deepEqual(await looked(), ['disk'], 'what runs on without people is seen')
  time += 10 * MINUTE
  assert.deepEqual(await looked(), ['disk alone'])
  time += 10 * MINUTE
  assert.deepEqual(await looked(), [])
  const busy = await hold('disk')
  assert.deepEqual(await looked(), ['disk'])
  time += 9_999
  assert.deepEqual(await looked(), ['sessions'])
  busy.release()
  await connector.sleep('disk')
  ;(await hold('disk')).release()
  assert.deepEqual(await looked(), ['disk'])
  await connector.sleep('disk')
})

test('memory: short below the reserve, or when all awake ones together take the limit', async () => {
  let left = 100
  const parts = { every: MINUTE, driver: () => driver, log: silentLog, available: () => left }
  assert.equal(makeMemory({ ...parts, limit: 0, reserve: 0 }).short(), false)
  const reserve = makeMemory({ ...parts, limit: 0, reserve: 50 })
  assert.equal(reserve.short(), false)
  left = 49
  assert.equal(reserve.short(), true)
  const limit = makeMemory({ ...parts, limit: 2 << 20, reserve: 0 })
  limit.start(connector)
  ;(await hold('m1')).release()
  await limit.measure(connector)
  assert.deepEqual([limit.taken(), limit.short()], [1 << 20, false])
  ;(await hold('m2')).release()
  assert.deepEqual([limit.taken(), limit.short()], [2 << 20, true], 'what was not measured yet counts as the others do')
  await connector.sleep('m1')
  assert.equal(limit.short(), false)
  await limit.close()
})
