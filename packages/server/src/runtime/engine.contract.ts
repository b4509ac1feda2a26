/** What every engine must do, ours and a stranger's: `engineContract('mine', open)` in a test file of its own. */
import assert from 'node:assert/strict'
import { isAbsolute } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Value } from 'typebox/value'
import type { Endpoint } from './driver.ts'
import type { Engine } from './engine.ts'
import type { Service } from './services.ts'

export interface EngineCase {
  readonly engine: Engine
  /** Its secrets are texts that occur nowhere else. */
  readonly service: Service
  /** Starts the engine's workload for the service; not yet ready. */
  start(): Promise<Endpoint>
  stop(): Promise<unknown>
  close(): Promise<void>
}

export function engineContract(name: string, open: () => Promise<EngineCase>): void {
  describe(`the contract of engines: ${name}`, () => {
    let one: EngineCase
    before(async () => {
      one = await open()
    })
    after(() => one?.close())

    test('a spec that says nothing is valid with its defaults', () => {
      const spec = Value.Default(one.engine.spec, {})
      assert.ok(Value.Check(one.engine.spec, spec))
      assert.equal(Value.Check(one.engine.spec, { ...(spec as object), nonsense_of_the_contract: 1 }), false)
    })

    test('a workload is pure data: the same each time, movable, without a secret in what other processes can see', () => {
      const { engine, service } = one
      const workload = engine.workload(service)
      assert.deepEqual(engine.workload(service), workload)
      assert.deepEqual(JSON.parse(JSON.stringify(workload)), workload)
      assert.deepEqual([workload.id, workload.volume, workload.engine], [service.id, service.volume, engine.name])
      assert.ok(!isAbsolute(workload.volume) && !isAbsolute(workload.command[0] ?? '/'))
      const visible = JSON.stringify([workload.command, workload.environment])
      for (const secret of Object.values(service.secrets)) assert.ok(!visible.includes(secret))
      assert.ok(workload.stop.length > 0)
    })

    test('started, ready, prepared and attached; asleep; and the same again: every step may be repeated', async () => {
      const { engine } = one
      let { service } = one
      for (let round = 0; round < 2; round++) {
        const at = await one.start()
        await engine.ready(at, service)
        await engine.prepare(at, service)
        const attachment = await engine.attach?.(at, service)
        service = { ...service, observedVersion: service.specVersion }
        assert.equal((await attachment?.lastActivity?.()) ?? 0, 0, 'the server itself is no activity')
        await attachment?.enforce?.({ disk: undefined })
        await attachment?.close()
        await one.stop()
      }
    })

    test('what does not run is never ready', async () => {
      const at = await one.start()
      await one.stop()
      await assert.rejects(one.engine.ready(at, one.service), { code: 'engine_not_ready' })
    })
  })
}
