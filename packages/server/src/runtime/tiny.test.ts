/** The contracts hold for the smallest implementations, so the other tests of the runtime stand on them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { driverContract } from './driver.contract.ts'
import { engineContract } from './engine.contract.ts'
import { tinyDriver, tinyEngine, tinyService } from './tiny.testing.ts'

driverContract('tiny', async () => {
  const driver = tinyDriver()
  return {
    driver,
    workload: (id, mark = 'hello') => tinyEngine().workload(tinyService(id, { spec: { greeting: mark } }) as never),
    put: async (at, n) => writeFileSync(join(at.host, 'n'), String(n)),
    get: async (at) => Number(readFileSync(join(at.host, 'n'), 'utf8')),
    kill: async (at) => process.kill(at.pid!, 'SIGKILL'),
    close: () => driver.close(),
  }
})

engineContract('tiny', async () => {
  const driver = tinyDriver()
  const engine = tinyEngine()
  const service = tinyService('one', { secrets: { word: 'a-secret-of-the-contract' } })
  return {
    engine,
    service,
    start: () => driver.apply(engine.workload(service as never)),
    stop: () => driver.sleep('one'),
    close: () => driver.close(),
  }
})
