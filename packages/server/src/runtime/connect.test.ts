import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, test } from 'node:test'
import { until } from '../../../../test/until.ts'
import { fail } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import { Connector, type ConnectorOptions, type Link } from './connect.ts'
import { lastSeen, whyAwake } from './entry.ts'
import type { Service } from './services.ts'
import { type TinyDriver, type TinyEngine, tinyDriver, tinyEngine, tinyService } from './tiny.testing.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
after(() => assert.equal(closing.length, 0))

interface World {
  readonly connector: Connector
  readonly driver: TinyDriver
  readonly engine: TinyEngine
  readonly services: Map<string, Service>
  readonly seen: string[]
  time: number
  hold(id: string): ReturnType<Connector['hold']>
}

function open(ids: readonly string[], more: Partial<ConnectorOptions> = {}): World {
  const driver = tinyDriver()
  const engine = tinyEngine()
  const services = new Map(ids.map((id) => [id, tinyService(id)]))
  const seen: string[] = []
  const world = { driver, engine, services, seen, time: 1_000_000 } as unknown as World & { connector: Connector; hold: World['hold'] }
  world.connector = new Connector({
    node: 'n',
    engine: () => engine,
    driver: () => driver,
    load: async (id) => services.get(id),
    find: async (project) => [...services.values()].find((service) => service.project === project),
    seen: async (id, status, { observedVersion, detail }) => {
      seen.push(`${id} ${status}${detail?.code === undefined ? '' : ` ${detail.code}`}`)
      const service = services.get(id)
      if (service && observedVersion !== undefined) services.set(id, { ...service, observedVersion })
    },
    maxAwake: 0,
    maxQueue: 100,
    patience: 60_000,
    drain: 60_000,
    log: silentLog,
    now: () => world.time,
    ...more,
  })
  world.hold = (id) => world.connector.hold(id, 'db', 'test')
  driver.onExit((id, detail, run) => world.connector.crashed(id, detail, run))
  closing.push(async () => {
    await world.connector.close()
    assert.equal(world.connector.taken, 0, 'a place is lost')
    assert.equal(engine.open(), 0, 'an attachment is left open')
    assert.equal(driver.running(), 0, 'a process is left')
    await driver.close()
  })
  return world
}

/** A link that notes how it ended. */
function link(more: Partial<Link> = {}): Link & { ended: string[] } {
  const ended: string[] = []
  return { ended, lastActivity: () => 0, busy: () => false, end: (reason) => void ended.push(reason), ...more }
}

/** A gate in the wake: closed until it is opened. */
function gate(engine: TinyEngine) {
  const opened = Promise.withResolvers<void>()
  let reached = 0
  engine.onPrepare = () => {
    reached++
    return opened.promise
  }
  return { open: opened.resolve, reached: () => until(() => reached > 0) }
}

test('50 callers make one wake', async () => {
  const { hold, driver, connector, seen } = open(['a'])
  const holds = await Promise.all(Array.from({ length: 50 }, () => hold('a')))
  assert.deepEqual(driver.starts, ['a'])
  assert.deepEqual(new Set(holds.map(({ endpoint }) => endpoint.run)).size, 1)
  assert.equal(connector.entry('a')?.holds, 50)
  for (const one of holds) {
    one.release()
    one.release()
  }
  assert.equal(connector.entry('a')?.holds, 0)
  await connector.reported('a')
  assert.deepEqual(seen, ['a awake'])
})

test('what is held does not sleep; freed, it does, and the next caller wakes it again', async () => {
  const { hold, connector, driver } = open(['a'])
  const one = await hold('a')
  assert.equal(await connector.sleep('a'), false)
  one.release()
  assert.equal(await connector.sleep('a'), true)
  assert.equal(driver.running(), 0)
  assert.equal(connector.now('a', 'db', 'test'), null)
  const two = await hold('a')
  assert.notEqual(two.endpoint.run, one.endpoint.run)
  assert.ok(connector.now('a', 'db', 'test'))
})

test('who comes while it goes to sleep waits and wakes it again', async () => {
  const { hold, connector, driver } = open(['a'])
  ;(await hold('a')).release()
  const sleeping = connector.sleep('a')
  assert.equal(connector.entry('a')?.state, 'sleeping')
  const [slept, one] = await Promise.all([sleeping, hold('a')])
  assert.deepEqual([slept, driver.starts], [true, ['a', 'a']])
  one.release()
})

test('sleep racing with callers loses none of them', async () => {
  const { hold, connector } = open(['a'])
  const tick = () => new Promise((resolve) => setImmediate(resolve))
  let slept = 0
  const callers = Array.from({ length: 4 }, async () => {
    while (slept < 10) {
      const one = await hold('a')
      assert.equal(connector.entry('a')?.endpoint?.run, one.endpoint.run)
      await tick()
      assert.equal(connector.entry('a')?.state, 'awake')
      one.release()
      await tick()
    }
  })
  const sleeper = (async () => {
    while (slept < 10) {
      if (connector.entry('a')?.state === 'awake' && (await connector.sleep('a'))) slept++
      await tick()
    }
  })()
  await Promise.all([...callers, sleeper])
})

test('with a drain nothing new begins, and what is under way ends first', async () => {
  const { hold, connector, driver } = open(['a'])
  const one = await hold('a')
  const sleeping = connector.sleep('a', { force: true, drain: 60_000 })
  const late = hold('a')
  assert.equal(connector.entry('a')?.state, 'sleeping')
  assert.equal(driver.running(), 1)
  one.release()
  await sleeping
  ;(await late).release()
  assert.deepEqual(driver.starts, ['a', 'a'])
})

test('at the limit the one idle longest sleeps first', async () => {
  const world = open(['a', 'b', 'c'], { maxAwake: 2 })
  for (const id of ['a', 'b']) {
    ;(await world.hold(id)).release()
    world.time += 1000
  }
  world.connector.now('a', 'db', 'test')?.release()
  world.time += 1000
  const third = await world.hold('c')
  assert.deepEqual(
    [...world.connector.awake()].map(({ id }) => id),
    ['a', 'c'],
  )
  third.release()
})

test('when all are busy callers wait, so many and no more, and get the place that frees', async () => {
  const { hold, connector } = open(['a', 'b', 'c'], { maxAwake: 1, maxQueue: 3 })
  const busy = await hold('a')
  const waiting = [hold('b'), hold('b'), hold('c')]
  await until(() => connector.queued === 3)
  await assert.rejects(hold('b'), { code: 'node_busy', headers: { 'retry-after': '2' } })
  await assert.rejects(hold('c'), { code: 'node_busy' })
  busy.release()
  const [one, two] = await Promise.all(waiting.slice(0, 2))
  one?.release()
  two?.release()
  ;(await waiting[2])?.release()
  assert.deepEqual([connector.queued, connector.taken], [0, 1])
})

test('past its patience a caller is answered, for a place and for a wake; the wake goes on', async () => {
  const { hold, connector, engine } = open(['a', 'b'], { maxAwake: 1, patience: 30 })
  const held = gate(engine)
  await assert.rejects(hold('a'), { code: 'project_unavailable', headers: { 'retry-after': '2' } })
  held.open()
  await until(() => connector.entry('a')?.state === 'awake')
  const busy = await hold('a')
  await assert.rejects(hold('b'), { code: 'node_busy' })
  busy.release()
  // Its wake may take longer than anybody's patience here.
  const patiently = () => hold('b').catch(() => null)
  ;(await until(patiently))?.release()
})

test('a start that fails is told to all, backs off longer each time, and is tried again', async () => {
  const world = open(['a', 'b'])
  const { engine, driver, hold, connector, seen } = world
  engine.onPrepare = async (at) => {
    if (at.service === 'a') throw fail('engine_not_ready', { seconds: 1, reason: 'the test says so' })
  }
  const failed = await Promise.allSettled([hold('a'), hold('a')])
  assert.deepEqual(
    failed.map((each) => each.status === 'rejected' && each.reason.code),
    ['project_unavailable', 'project_unavailable'],
  )
  assert.equal(driver.running(), 0)
  await assert.rejects(hold('a'), { code: 'project_unavailable', headers: { 'retry-after': '1' } })
  assert.deepEqual(driver.starts, ['a'], 'not tried within its pause')
  ;(await hold('b')).release()
  const pauses: number[] = []
  for (let i = 0; i < 9; i++) {
    world.time = connector.entry('a')!.failedUntil
    await assert.rejects(hold('a'), { code: 'project_unavailable' })
    pauses.push(connector.entry('a')!.failedUntil - world.time)
  }
  assert.deepEqual(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000])
  engine.onPrepare = async () => {}
  world.time = connector.entry('a')!.failedUntil
  ;(await hold('a')).release()
  assert.equal(connector.entry('a')?.failures, 0)
  await connector.reported('a')
  assert.ok(seen.includes('a failed engine_not_ready'))
  assert.equal(seen.at(-1), 'a awake')
})

test('an end that nobody asked for: links are told, the next caller starts it again', async () => {
  const { hold, connector, driver, engine, seen } = open(['a'])
  const wire = link()
  const one = await hold('a')
  const idle = await hold('a')
  idle.relax(wire)
  process.kill(one.endpoint.pid!, 'SIGKILL')
  await until(() => connector.entry('a')?.state === 'asleep')
  assert.deepEqual(wire.ended, ['crash'])
  await until(() => engine.open() === 0)
  const again = await hold('a')
  assert.deepEqual(driver.starts, ['a', 'a'])
  one.release()
  assert.equal(connector.entry('a')?.holds, 1)
  again.release()
  await connector.reported('a')
  assert.deepEqual(seen, ['a awake', 'a asleep crashed', 'a awake'])
})

test('word of a former run is not taken for the end of this one', async () => {
  const { hold, connector, driver } = open(['a'])
  const one = await hold('a')
  one.release()
  await connector.sleep('a')
  const two = await hold('a')
  connector.crashed('a', 'late word', one.endpoint.run)
  assert.equal(connector.entry('a')?.state, 'awake')
  assert.equal(connector.entry('a')?.endpoint?.run, two.endpoint.run)
  two.release()
  assert.equal(driver.running(), 1)
})

test('a process that ends while it wakes fails the wake at once, and leaves nothing', async () => {
  const world = open(['a'])
  const { hold, connector, engine, driver } = world
  const held = gate(engine)
  const waiting = assert.rejects(hold('a'), { code: 'project_unavailable' })
  await held.reached()
  const { pid } = await driver.inspect('a', 'v-a')
  process.kill(pid!, 'SIGKILL')
  await until(() => driver.running() === 0)
  held.open()
  await waiting
  assert.equal(engine.open(), 0)
  world.time = connector.entry('a')!.failedUntil
  ;(await hold('a')).release()
})

test('links do not keep it awake unless one says so, or is busy; they are ended with a word', async () => {
  const world = open(['a'])
  const { hold, connector } = world
  const idle = link({ lastActivity: () => world.time - 5000 })
  let busy = true
  const working = link({ busy: () => busy })
  ;(await hold('a')).relax(idle)
  const gone = (await hold('a')).relax(working)
  assert.equal(await connector.sleep('a'), false)
  busy = false
  gone()
  const entry = connector.entry('a')!
  assert.equal(lastSeen(entry, world.time), entry.lastUsed)
  assert.equal(await connector.sleep('a'), true)
  assert.deepEqual([idle.ended, working.ended], [['sleep'], []])
})

test('what keeps it awake is not put to sleep to make room', async () => {
  const { hold, connector } = open(['a', 'b'], { maxAwake: 1, patience: 50 })
  const kept = link({ keepsAwake: true })
  ;(await hold('a')).relax(kept)
  assert.equal(lastSeen(connector.entry('a')!, 7), 7)
  await assert.rejects(hold('b'), { code: 'node_busy' })
  await connector.sleep('a', { force: true, reason: 'deleted' })
  assert.deepEqual(kept.ended, ['deleted'])
})

test('a link that comes after the end of its run is told so', async () => {
  const { hold, connector } = open(['a'])
  const one = await hold('a')
  await connector.sleep('a', { force: true })
  const late = link()
  one.relax(late)
  assert.deepEqual([late.ended, connector.entry('a')?.holds, connector.entry('a')?.links.size], [['sleep'], 0, 0])
})

test('says why it is awake', async () => {
  const world = open(['a'])
  const { hold, connector } = world
  assert.equal(connector.entry('a'), undefined)
  const one = await hold('a')
  const entry = connector.entry('a')!
  assert.deepEqual(whyAwake(entry, 1000, world.time), ['1 under way (test)'])
  one.relax(link({ lastActivity: () => world.time }))
  world.time += 4000
  assert.deepEqual(whyAwake(entry, 1000, world.time), ['1 wire connection', 'last used 0 s ago'])
  await connector.sleep('a')
  assert.deepEqual(whyAwake(entry, 1000, world.time), [])
  ;(await hold('a')).release()
  world.time += 4000
  assert.deepEqual(whyAwake(entry, 0, world.time), ['sleep is off'])
})

test('while it stands still nobody wakes it; a failing work harms no caller', async () => {
  const { hold, connector, driver } = open(['a'])
  const one = await hold('a')
  const order: string[] = []
  const work = connector.still(
    'a',
    async () => {
      order.push(`running ${driver.running()}`)
      throw fail('internal')
    },
    { drain: 60_000 },
  )
  await until(() => connector.entry('a')?.state === 'sleeping')
  const late = hold('a').then((each) => {
    order.push('held')
    each.release()
  })
  one.release()
  await assert.rejects(work, { code: 'internal' })
  await late
  assert.deepEqual(order, ['running 0', 'held'])
  const both = await Promise.all([connector.still('a', async () => 1), connector.still('a', async () => 2)])
  assert.deepEqual(both, [1, 2])
})

test('a copy is made before its first start, whoever asks first; its source stands still and wakes again', async () => {
  const world = open(['a', 'b'])
  const { hold, driver, services, engine } = world
  const source = await hold('a')
  writeFileSync(join(driver.path('v-a'), 'row'), 'of a')
  services.set('b', tinyService('b', { source: { service: 'a', volume: 'v-a', data: true } }))
  const copying = Promise.all([hold('b'), hold('b')])
  source.release()
  for (const one of await copying) one.release()
  assert.equal(readFileSync(join(driver.path('v-b'), 'row'), 'utf8'), 'of a')
  ;(await hold('a')).release()
  assert.deepEqual(engine.adopted, [])
})

test('a copy whose source is gone does not start empty', async () => {
  const { hold, driver, services, connector, seen } = open(['b'])
  services.set('b', tinyService('b', { source: { service: 'gone', volume: 'v-gone', data: true } }))
  await assert.rejects(hold('b'), { code: 'project_unavailable' })
  assert.ok(!existsSync(driver.path('v-b')))
  await connector.reported('b')
  assert.deepEqual(seen, ['b failed copy_source_gone'])
})

test('what is of another node, unknown or no longer wanted is not started', async () => {
  const { hold, services, driver, connector } = open(['a', 'b'])
  services.set('a', tinyService('a', { node: 'other' }))
  await assert.rejects(hold('a'), { code: 'service_elsewhere' })
  await assert.rejects(hold('nobody'), { code: 'service_not_found' })
  ;(await hold('b')).release()
  await connector.sleep('b')
  services.set('b', tinyService('b', { wanted: 'stopped' }))
  await assert.rejects(hold('b'), { code: 'service_not_found' })
  services.set('b', tinyService('b'))
  ;(await hold('b')).release()
  assert.deepEqual(driver.starts, ['b', 'b'])
})

test('while metadata is away what was known wakes', async () => {
  let away = false
  const service = tinyService('a')
  const { hold, connector } = open(['a'], {
    load: async () => {
      if (away) throw fail('metadata_unavailable')
      return service
    },
    seen: async () => {
      if (away) throw fail('metadata_unavailable')
    },
  })
  ;(await hold('a')).release()
  await connector.sleep('a')
  away = true
  ;(await hold('a')).release()
})

test('closing: wakes under way and waiting ones end, links are told, nothing is left', async () => {
  const { hold, connector, engine, driver } = open(['a', 'b', 'c'], { maxAwake: 2 })
  const wire = link()
  ;(await hold('a')).relax(wire)
  const busy = await hold('a')
  const held = gate(engine)
  const waking = assert.rejects(hold('b'), { code: 'node_closing' })
  await held.reached()
  const waiting = assert.rejects(hold('c'), { code: 'node_closing' })
  const closed = connector.close()
  held.open()
  await Promise.all([waking, waiting, closed])
  assert.deepEqual(wire.ended, ['shutdown'])
  assert.deepEqual([driver.running(), connector.taken], [0, 0])
  await assert.rejects(hold('a'), { code: 'node_closing' })
  busy.release()
})
