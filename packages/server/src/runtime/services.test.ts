import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { eachMetadata, type TestMetadata } from '../../../../test/databases.ts'
import { until } from '../../../../test/until.ts'
import { makeVault } from '../base/crypto.ts'
import { silentLog } from '../base/log.ts'
import { SYSTEM } from '../metadata/change.ts'
import { Connector } from './connect.ts'
import { makePrepared } from './prepared.ts'
import { makeReconciler, reconcileJob, reconcileKind } from './reconcile.ts'
import { type NewService, type Service, ServiceStore } from './services.ts'
import { specWith } from './spec.ts'
import { tinyDriver, tinyEngine } from './tiny.testing.ts'

const NODE = 'n'

/** A node's runtime on real metadata, with the tiny engine and driver. */
async function openRuntime(opened: TestMetadata) {
  const { metadata, change, queue } = opened
  const services = new ServiceStore(makeVault(randomBytes(32)))
  const driver = tinyDriver()
  const engine = tinyEngine()
  const connector = new Connector({
    node: NODE,
    engine: () => engine,
    driver: () => driver,
    load: (id) => services.byId(metadata.kysely, id),
    find: (project, name) => services.byName(metadata.kysely, project, name),
    copied: async ({ source }) => {
      const from = source ? await services.byId(metadata.kysely, source.service) : undefined
      return source && from ? { secrets: from.secrets, data: source.data } : undefined
    },
    seen: (id, status, seen) => services.setStatus(metadata.kysely, id, status, seen),
    maxAwake: 0,
    maxQueue: 100,
    patience: 60_000,
    drain: 60_000,
    log: silentLog,
  })
  driver.onExit((id, detail, run) => connector.crashed(id, detail, run))
  const reconcile = makeReconciler({ metadata, change, services, connector, driver: () => driver, engine: () => engine, drain: 60_000 })
  queue.handle(reconcileKind(NODE), {
    backoff: 10,
    run: async (job) => {
      await reconcile(job.key)
      return undefined
    },
  })
  const spec = specWith(engine, { greeting: 'default' }, {})
  const fresh = (project: string, more: Partial<NewService> = {}) =>
    change(SYSTEM, async (c) => {
      const service = { project, name: 'db', engine, driver: 'tiny', region: 'local', node: NODE, spec, ...more }
      const id = await services.insert(c.trx, service)
      await c.job(reconcileJob({ id, node: service.node }))
      return id
    })
  const want = (id: string, wanted: 'active' | 'stopped' | 'deleted') =>
    change(SYSTEM, async (c) => {
      await services.setWanted(c.trx, id, wanted)
      await c.job(reconcileJob({ id, node: NODE }))
    })
  const read = (id: string) => services.byId(metadata.kysely, id)
  const reached = (id: string, is: (service: Service) => boolean) =>
    until(async () => {
      const service = await read(id)
      return service && is(service) ? service : undefined
    })
  const settled = () =>
    until(
      async () =>
        (await metadata.kysely.selectFrom('jobs').select('id').where('state', 'in', ['queued', 'running']).execute()).length === 0,
    )
  const events = async () => (await metadata.kysely.selectFrom('events').select('name').orderBy('seq').execute()).map(({ name }) => name)
  const pool = (size: number, of = spec) =>
    makePrepared({ metadata, change, services, engine, driver: 'tiny', region: 'local', node: NODE, spec: () => of, size, log: silentLog })
  return {
    ...{ services, driver, engine, connector, reconcile, spec, fresh, want, read, reached, settled, events, pool, change, metadata, queue },
    async close() {
      await queue.close()
      await connector.close()
      await driver.close()
    },
  }
}

eachMetadata((_name, open) => {
  const runtime = async (t: { after(fn: () => unknown): void }) => {
    const made = await openRuntime(await open({ poll: 20 }))
    t.after(() => made.close())
    return made
  }

  test('create, stop, restore, delete: each is a wanted state that comes true', async (t) => {
    const { fresh, want, reached, settled, events, driver, queue, connector, read } = await runtime(t)
    queue.start()
    const id = await fresh('p')
    const made = await reached(id, ({ status }) => status === 'awake')
    assert.deepEqual([made.observedVersion, made.engineVersion, Object.keys(made.secrets)], [1, '1.0', ['word']])
    await want(id, 'stopped')
    await reached(id, ({ status }) => status === 'asleep')
    await assert.rejects(connector.hold('p', 'db', 'test'), { code: 'service_not_found' })
    await want(id, 'active')
    await settled()
    ;(await connector.hold('p', 'db', 'test')).release()
    await want(id, 'deleted')
    await until(async () => (await read(id)) === undefined)
    await settled()
    assert.ok(!existsSync(driver.path(made.volume)))
    assert.equal(connector.taken, 0)
    assert.deepEqual(await events(), ['service.ready', 'service.deleted'])
  })

  test('deleted and restored in a hurry it is as wanted last', async (t) => {
    const { fresh, want, reached, settled, queue, engine, connector } = await runtime(t)
    const gate = Promise.withResolvers<void>()
    engine.onPrepare = () => gate.promise
    queue.start()
    const id = await fresh('p')
    await until(() => connector.entry(id)?.state === 'waking')
    await want(id, 'stopped')
    await want(id, 'active')
    gate.resolve()
    await settled()
    await reached(id, ({ status, observedVersion }) => observedVersion === 1 && (status === 'awake' || status === 'asleep'))
    await want(id, 'stopped')
    await settled()
    assert.notEqual(connector.entry(id)?.state, 'awake')
  })

  test('a new spec waits for what is under way', async (t) => {
    const { fresh, reached, queue, connector, services, change, driver } = await runtime(t)
    queue.start()
    const id = await fresh('p')
    await reached(id, ({ status }) => status === 'awake')
    const busy = await connector.hold('p', 'db', 'test')
    await change(SYSTEM, async (c) => {
      await services.setSpec(c.trx, id, { greeting: 'new' })
      await c.job(reconcileJob({ id, node: NODE }))
    })
    await until(() => connector.entry(id)?.state === 'sleeping')
    assert.equal(driver.running(), 1)
    busy.release()
    await reached(id, ({ status, observedVersion }) => observedVersion === 2 && status === 'awake')
    await connector.sleep(id)
    await change(SYSTEM, async (c) => {
      await services.setSpec(c.trx, id, { greeting: 'newer' })
      await c.job(reconcileJob({ id, node: NODE }))
    })
    await reached(id, ({ observedVersion }) => observedVersion === 3)
    assert.equal(driver.running(), 0, 'what slept sleeps on')
  })

  test('a copy has the rows of its source; deleted meanwhile, it still is copied; purged, it fails for good', async (t) => {
    const { fresh, want, reached, read, settled, queue, driver, engine, events } = await runtime(t)
    queue.start()
    const from = await fresh('from')
    const { volume } = await reached(from, ({ status }) => status === 'awake')
    writeFileSync(join(driver.path(volume), 'row'), 'one')
    await want(from, 'stopped')
    const source = { service: from, volume, data: true }
    const copy = await fresh('copy', { source })
    const made = await reached(copy, ({ status }) => status === 'awake')
    assert.ok(existsSync(join(driver.path(made.volume), 'row')))
    assert.deepEqual(engine.adopted, [copy])
    await want(from, 'deleted')
    await until(async () => (await read(from)) === undefined)
    const late = await fresh('late', { source })
    const failed = await reached(late, ({ status }) => status === 'failed')
    await settled()
    assert.deepEqual([failed.detail.code, existsSync(driver.path(failed.volume))], ['copy_source_gone', false])
    assert.equal((await events()).at(-1), 'service.failed')
  })

  test('a start settles what the last run left, of this node only', async (t) => {
    const { services, metadata, fresh, read } = await runtime(t)
    const id = await Promise.all([fresh('a'), fresh('b'), fresh('c'), fresh('d', { node: 'other' })])
    const statuses = ['awake', 'creating', 'degraded', 'awake'] as const
    for (const [at, status] of statuses.entries())
      await services.setStatus(metadata.kysely, id[at]!, status, at === 1 ? {} : { observedVersion: 1 })
    await services.settle(metadata.kysely, NODE)
    assert.deepEqual(await Promise.all(id.map(async (each) => (await read(each))?.status)), ['asleep', 'pending', 'asleep', 'awake'])
    assert.deepEqual(await services.unsettled(metadata.kysely, NODE), [id[1]])
    await services.begin(metadata.kysely, id[0]!)
    assert.equal((await read(id[0]!))?.status, 'asleep', 'what runs already does not begin')
  })

  test('prepared ones: each is claimed once; what is stale, failed or too many goes', async (t) => {
    const { services, metadata, change, queue, pool, spec, settled, read, reached, connector } = await runtime(t)
    queue.start()
    const unclaimed = async () => (await services.list(metadata.kysely, { projects: [''] })).filter(({ wanted }) => wanted === 'active')
    const first = pool(2)
    first.refill()
    await until(async () => (await unclaimed()).filter(({ status }) => status === 'awake').length === 2)
    const claim = (project: string) =>
      change(SYSTEM, (c) => services.claimPrepared(c.trx, project, 'db', { engine: 'tiny', node: NODE, spec }))
    const claimed = await Promise.all(['x', 'y', 'z'].map(claim))
    const got = claimed.filter((id) => id !== undefined)
    assert.deepEqual([got.length, new Set(got).size], [2, 2])
    const [mine = ''] = got
    const service = (await read(mine))!
    connector.claimed(service)
    const hold = await connector.hold(service.project, 'db', 'test')
    assert.equal(hold.service.id, mine)
    hold.release()
    assert.equal(await change(SYSTEM, (c) => services.dropPrepared(c.trx, mine)), false, 'a claimed one is not dropped')
    first.refill()
    first.refill()
    const again = await until(async () => {
      const found = await unclaimed()
      return found.length === 2 ? found : undefined
    })
    await settled()
    await services.setStatus(metadata.kysely, again[0]!.id, 'failed')
    first.refill()
    await until(async () => (await unclaimed()).length === 2 && (await read(again[0]!.id)) === undefined)
    // Another default after a restart: none of the old ones could be claimed.
    const other = pool(1, { greeting: 'another' })
    other.refill()
    await until(async () => (await services.list(metadata.kysely, { projects: [''] })).length === 1 && (await unclaimed()).length === 1)
    const [kept] = await unclaimed()
    await reached(kept!.id, ({ status }) => status === 'awake')
    const none = pool(0)
    none.refill()
    await until(async () => (await services.list(metadata.kysely, { projects: [''] })).length === 0)
    await Promise.all([first, other, none].map((each) => each.close()))
    await settled()
  })
})
