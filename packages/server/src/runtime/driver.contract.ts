/** What every driver must do, ours and a stranger's: `driverContract('mine', open)` in a test file of its own. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { until } from '../../../../test/until.ts'
import type { Driver, Endpoint, Workload } from './driver.ts'

export interface DriverCase {
  readonly driver: Driver
  /** A workload with the volume `v-<id>`; another `mark` is another workload. */
  workload(id: string, mark?: string): Workload
  /** Writes a number into what runs, to be there at the next start. */
  put(at: Endpoint, n: number): Promise<unknown>
  get(at: Endpoint): Promise<number>
  /** Ends it as a crash would. */
  kill(at: Endpoint): Promise<unknown>
  close(): Promise<void>
}

export function driverContract(name: string, open: () => Promise<DriverCase>): void {
  describe(`the contract of drivers: ${name}`, () => {
    let one: DriverCase
    let driver: Driver
    const ends: { id: string; run: string }[] = []
    const endsOf = (run: string) => ends.filter((end) => end.run === run)

    before(async () => {
      one = await open()
      driver = one.driver
      driver.onExit((id, _detail, run) => ends.push({ id, run }))
    })
    after(() => one?.close())

    const apply = (id: string, mark?: string) => driver.apply(one.workload(id, mark))
    const stateOf = async (id: string) => (await driver.inspect(id, `v-${id}`)).state

    test('absent, awake, asleep; every step may be repeated; the data stays; each start is a run of its own', async () => {
      assert.equal(await stateOf('a'), 'absent')
      await driver.sleep('a')
      const [first, same] = await Promise.all([apply('a'), apply('a')])
      assert.equal(first.service, 'a')
      assert.deepEqual(first, same)
      await one.put(first, 7)
      assert.equal(await stateOf('a'), 'awake')
      await driver.sleep('a')
      await driver.sleep('a')
      assert.equal(await stateOf('a'), 'asleep')
      const second = await apply('a')
      assert.notEqual(second.run, first.run)
      assert.equal(await one.get(second), 7)
      assert.ok(((await driver.inspect('a', 'v-a', { disk: true })).disk ?? 0) > 0)
    })

    test('another workload of the same id is another run with the same data', async () => {
      const first = await apply('a')
      const second = await apply('a', 'changed')
      assert.notEqual(second.run, first.run)
      assert.equal(await one.get(second), 7)
      assert.deepEqual(endsOf(first.run), [], 'asked for, so not told')
    })

    test('an end that nobody asked for is told once, with its run; the next start goes on with the data', async () => {
      const first = await apply('k')
      await one.put(first, 8)
      await one.kill(first)
      await until(() => endsOf(first.run).length > 0)
      assert.equal(await stateOf('k'), 'crashed')
      assert.equal(await one.get(await apply('k')), 8)
      assert.deepEqual(endsOf(first.run), [{ id: 'k', run: first.run }])
    })

    test('a volume is copied while it stands still only, to a new name only', async () => {
      await assert.rejects(driver.copy('v-k', 'v-c'), { code: 'volume_running' })
      await driver.sleep('k')
      await driver.copy('v-k', 'v-c')
      await assert.rejects(driver.copy('v-k', 'v-c'), { code: 'volume_exists' })
      await assert.rejects(driver.copy('v-none', 'v-d'), { code: 'volume_missing' })
      const copy = await apply('c')
      await one.put(copy, 9)
      assert.equal(await one.get(await apply('k')), 8)
    })

    test('removed it is gone, running or not; twice is no error', async () => {
      for (const id of ['a', 'k', 'c', 'k']) await driver.remove(id, `v-${id}`)
      for (const id of ['a', 'k', 'c']) assert.equal(await stateOf(id), 'absent')
    })
  })
}
