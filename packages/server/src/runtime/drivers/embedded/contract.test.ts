import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { driverContract } from '../../driver.contract.ts'
import { type Accounts, ownAccounts } from './accounts.ts'
import { directHands } from './direct.ts'
import { embeddedDriver } from './driver.ts'
import { openLayout } from './layout.ts'
import { query, tempDir, template, testPrograms, workload } from './postgres.testing.ts'

driverContract('embedded', async () => {
  const dir = tempDir()
  const hands = await directHands({
    layout: openLayout(join(dir, 'data')),
    accounts: ownAccounts(dir) as Accounts,
    programs: await testPrograms(),
  })
  const driver = embeddedDriver(hands)
  await driver.template(template)
  return {
    driver,
    workload(id, mark) {
      const made = workload(id)
      const settings = made.files['postgresql.conf'] ?? ''
      return mark === undefined ? made : { ...made, files: { ...made.files, 'postgresql.conf': `${settings}work_mem = '5MB'\n` } }
    },
    put: (at, n) => query(at, `insert into seen values (${n})`),
    get: async (at) => Number((await query(at, 'select max(n) as n from seen'))[0]?.n),
    kill: async (at) => process.kill(at.pid!, 'SIGKILL'),
    async close() {
      await driver.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
})
