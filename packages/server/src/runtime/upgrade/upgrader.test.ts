/** The state of a move on real metadata, with the tiny engine and driver: broken off at each point, neither stuck nor with a volume left that nobody names. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { eachMetadata, type TestMetadata } from '../../../../../test/databases.ts'
import { until } from '../../../../../test/until.ts'
import { makeVault } from '../../base/crypto.ts'
import { fail } from '../../base/errors.ts'
import { silentLog } from '../../base/log.ts'
import { type Changer, SYSTEM } from '../../metadata/change.ts'
import { Connector } from '../connect.ts'
import type { Driver } from '../driver.ts'
import { makeReconciler } from '../reconcile.ts'
import { type NewService, ServiceStore } from '../services.ts'
import { specWith } from '../spec.ts'
import { type TinyDriver, tinyDriver, tinyEngine } from '../tiny.testing.ts'
import { upgradeJob } from './job.ts'
import { upgradeStore } from './store.ts'
import { makeUpgrader } from './upgrader.ts'

const NODE = 'n'
const NEVER = new AbortController().signal

/** Copies, runs and renames as the embedded one does. */
const withRefit = (driver: TinyDriver): Driver => ({
  ...driver,
  refit: {
    async stage(from, to) {
      mkdirSync(driver.path(to))
      cpSync(driver.path(from), join(driver.path(to), 'old'), { recursive: true })
    },
    async run(volume, { command: [program = '', ...args] }) {
      assert.equal(spawnSync(program, args, { cwd: driver.path(volume) }).status, 0)
      return ''
    },
    async unfold(volume, inner) {
      const beside = driver.path(`${volume}.beside`)
      renameSync(join(driver.path(volume), inner), beside)
      rmSync(driver.path(volume), { recursive: true })
      renameSync(beside, driver.path(volume))
    },
  },
})

async function open({ metadata, change: plain }: TestMetadata) {
  const db = metadata.kysely
  const services = new ServiceStore(makeVault(randomBytes(32)))
  const tiny = tinyDriver()
  const engine = tinyEngine()
  const world = { onFinish: async () => {}, onRemove: async (_volume: string) => {}, change: plain }
  const driver: Driver = {
    ...withRefit(tiny),
    async remove(id, volume) {
      await world.onRemove(volume)
      await tiny.remove(id, volume)
    },
  }
  Object.assign(engine, {
    upgrade: {
      can: () => 'able',
      files: {},
      steps: () => [{ name: 'make', program: { command: ['cp', '-r', 'old', 'new'], environment: {} } }],
      finish: () => world.onFinish(),
    },
  })
  const connector = new Connector({
    node: NODE,
    engine: () => engine,
    driver: () => driver,
    load: (id) => services.byId(db, id),
    find: (project, name) => services.byName(db, project, name),
    seen: (id, status, seen) => services.setStatus(db, id, status, seen),
    maxAwake: 0,
    maxQueue: 100,
    patience: 60_000,
    drain: 60_000,
    log: silentLog,
  })
  const change: Changer = (actor, fn) => world.change(actor, fn)
  const parts = { metadata, change, services, connector, driver: () => driver, engine: () => engine, drain: 60_000 }
  const space = { state: () => ({ free: Number.MAX_SAFE_INTEGER, reserve: 0, low: false }) as never }
  const upgrader = makeUpgrader({ ...parts, catchUp: async () => {}, space, log: silentLog })
  const reconcile = makeReconciler(parts)
  const spec = specWith(engine, {}, {})
  const insert = (more: Pick<NewService, 'project' | 'source'>) =>
    change(SYSTEM, (c) => services.insert(c.trx, { name: 'db', engine, driver: 'tiny', region: 'local', node: NODE, spec, ...more }))
  const id = await insert({ project: 'p' })
  const service = async () => (await services.byId(db, id))!
  const { volume: former } = await service()
  ;(await connector.holdById(id, 'test')).release()
  const file = (volume: string) => join(tiny.path(volume), 'rows')
  writeFileSync(file(former), 'kept')
  const want = () => change(SYSTEM, (c) => upgradeStore.want(c.trx, { service: id, from: '1.0', to: '2.0' }, Date.now()))
  return {
    ...{ world, db, connector, upgrader, reconcile, services, change, insert, file, id, service, former, want },
    run: () => upgrader.run(id, NEVER),
    row: () => upgradeStore.of(db, id),
    there: (volume: string | undefined) => existsSync(tiny.path(volume ?? '?')),
    leave: (volume: string) => mkdirSync(tiny.path(volume)),
    rows: (volume: string) => readFileSync(file(volume), 'utf8'),
    async close() {
      await connector.close()
      await tiny.close()
    },
  }
}

eachMetadata((_name, openMetadata) => {
  test('moved, with what it had; what a killed run had made goes, even where the next run is killed too', async () => {
    const one = await open(await openMetadata())
    await one.want()
    one.leave('v-first')
    await upgradeStore.begin(one.db, one.id, { run: 'first', volume: 'v-first' })
    await upgradeStore.interrupt(one.db, NODE)
    // As by a kill: nothing after it is done.
    one.world.onRemove = () => Promise.reject(fail('keeper_gone'))
    await assert.rejects(one.run())
    assert.equal((await one.row())?.volume, 'v-first', 'it is named until it is gone')
    one.world.onRemove = async () => {}
    await one.run()
    const { volume, engineVersion } = await one.service()
    assert.deepEqual([one.there('v-first'), one.there(one.former), engineVersion], [false, true, '2.0'])
    assert.notEqual(volume, one.former)
    assert.equal(one.rows(volume), 'kept')
    const row = await one.row()
    assert.deepEqual([row?.state, row?.volume], ['kept', one.former])
    await one.close()
  })

  test('given up after the ends of servers: it has failed, nothing is left of it, and it may be wanted again', async () => {
    const one = await open(await openMetadata())
    await one.want()
    one.leave('v-first')
    await upgradeStore.begin(one.db, one.id, { run: 'first', volume: 'v-first' })
    await upgradeStore.interrupt(one.db, NODE)
    await one.upgrader.gaveUp(one.id)
    const row = await one.row()
    assert.deepEqual([row?.state, row?.failure?.code, row?.volume, one.there('v-first')], ['failed', 'upgrade_failed', '', false])
    await one.want()
    await one.run()
    assert.equal((await one.row())?.state, 'kept')
    await one.close()
  })

  test('what cannot be removed after a failure stays named, and goes with the next start', async () => {
    const one = await open(await openMetadata())
    await one.want()
    one.world.onFinish = () => Promise.reject(fail('cluster_sign_in_refused'))
    one.world.onRemove = () => Promise.reject(fail('disk_full', { dir: '/' }))
    await one.run()
    const failed = await one.row()
    assert.deepEqual([failed?.state, one.there(failed?.volume)], ['failed', true])
    assert.deepEqual(await upgradeStore.unfinished(one.db, NODE), [one.id])
    one.world.onRemove = async () => {}
    await one.run()
    assert.deepEqual([(await one.row())?.state, (await one.row())?.volume, one.there(failed?.volume)], ['failed', '', false])
    assert.deepEqual(await upgradeStore.unfinished(one.db, NODE), [])
    await one.close()
  })

  test('the end of the keeper is no outcome: the move stays as it is for the next server', async () => {
    const one = await open(await openMetadata())
    await one.want()
    one.world.onFinish = () => Promise.reject(fail('keeper_gone'))
    await assert.rejects(one.run(), { code: 'keeper_gone' })
    assert.deepEqual([(await one.row())?.state, (await one.row())?.failure], ['running', null])
    one.world.onFinish = async () => {}
    await upgradeStore.interrupt(one.db, NODE)
    await one.run()
    assert.equal((await one.row())?.state, 'kept')
    await one.close()
  })

  test('a move without a job is asked for at a start, one with a job is not', async () => {
    const one = await open(await openMetadata())
    await one.want()
    assert.deepEqual(await upgradeStore.unfinished(one.db, NODE), [one.id])
    await one.change(SYSTEM, (c) => c.job(upgradeJob({ id: one.id, node: NODE })))
    assert.deepEqual(await upgradeStore.unfinished(one.db, NODE), [])
    await one.close()
  })

  test('a commit whose answer is lost has happened: the next wake is of the new volume', async () => {
    const one = await open(await openMetadata())
    await one.want()
    const { change } = one.world
    one.world.change = async (actor, fn) => {
      one.world.change = change
      await change(actor, fn)
      throw new Error('the connection is gone')
    }
    await one.run()
    const { volume } = await one.service()
    assert.notEqual(volume, one.former)
    assert.equal(one.rows(volume), 'kept')
    assert.equal(one.connector.entry(one.id)?.service.volume, volume)
    assert.equal((await one.row())?.state, 'kept')
    await one.close()
  })

  test('deleted in the middle: no volume of it stays', async () => {
    const one = await open(await openMetadata())
    await one.want()
    const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    one.world.onFinish = () => {
      reached.resolve()
      return go.promise
    }
    const moving = one.run()
    await reached.promise
    const made = (await one.row())?.volume
    await one.change(SYSTEM, (c) => one.services.setWanted(c.trx, one.id, 'deleted'))
    const deleting = one.reconcile(one.id)
    await until(() => one.connector.entry(one.id)?.turning !== null)
    go.resolve()
    await Promise.all([moving, deleting])
    assert.deepEqual([one.there(made), one.there(one.former), await one.row()], [false, false, undefined])
    await one.close()
  })

  test('a copy that was asked for before the move has the rows of after it', async () => {
    const one = await open(await openMetadata())
    const source = { service: one.id, volume: one.former, data: true }
    const copy = await one.insert({ project: 'q', source })
    await one.want()
    await one.run()
    writeFileSync(one.file((await one.service()).volume), 'written since')
    ;(await one.connector.holdById(copy, 'test')).release()
    assert.equal(one.rows((await one.services.byId(one.db, copy))!.volume), 'written since')
    await one.close()
  })
})
