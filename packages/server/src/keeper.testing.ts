/** A small main.ts for the keeper's tests: clusters named on the command line, JSON lines on stdout. */
import { exitCode, needsKeeper, openSeat, startKeeper } from './keeper.ts'
import { embeddedDriver } from './runtime/drivers/embedded/driver.ts'
import { query, template, testPrograms, workload } from './runtime/drivers/embedded/postgres.testing.ts'

const [dataDir = '', ...clusters] = process.argv.slice(2)
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
const uidMap = process.env.TEST_UID_MAP
const options = { dataDir, programs: testPrograms, ...(uidMap ? { uidMap } : {}) }

try {
  if (needsKeeper()) process.exit(await startKeeper(options))
  const seat = await openSeat(options)
  const driver = embeddedDriver(seat.hands)
  driver.onExit((id) => say({ exit: id }))
  seat.onStop(async (signal) => {
    say({ stop: signal })
    await driver.close()
    await seat.close()
    process.exit(0)
  })
  await driver.template(template)
  const started = await Promise.all(clusters.map((id) => driver.apply(workload(id))))
  for (const at of started) await query(at, 'insert into seen values (1)')
  const counts = await Promise.all(started.map(async (at) => (await query(at, 'select count(*)::int as n from seen'))[0]!.n))
  const refused = await seat.hands.stop('../etc').catch((error: Error & { code?: string }) => error.code)
  seat.announce('http://localhost:4711')
  const { isolation, limits } = seat.hands.facts
  const { dataDir: data, shownDataDir, app } = seat
  say({
    ready: {
      pid: process.pid,
      uid: process.geteuid?.(),
      pids: started.map((at) => at.pid),
      counts,
      isolation,
      limits,
      refused,
      data,
      shownDataDir,
      app,
    },
  })
} catch (error) {
  say({ failed: { code: (error as { code?: string }).code, message: (error as Error).message, hint: (error as { hint?: string }).hint } })
  process.exit(exitCode(error))
}
