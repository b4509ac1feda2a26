/** What planning a request costs beside what PostgreSQL spends on it. */
import { prepare } from '@sovrabase/server/apis/rest/prepare'
import { spaceOf } from '@sovrabase/server/apis/rest/space'
import { readCatalogue } from '@sovrabase/server/runtime/engines/postgres/catalogue/read'
import { askedOf, type Case, callOf, ownerOf, USERS } from './data.ts'
import { bar, median } from './figures.ts'
import type { BenchProject, BenchServer } from './server.ts'

const ROUNDS = 5
const CACHED = 20_000
const NEW = 1_000

/** µs of CPU of one call of `fn`. */
function cpu(times: number, fn: (i: number) => unknown): number {
  const start = process.cpuUsage()
  for (let i = 0; i < times; i++) fn(i)
  const { user, system } = process.cpuUsage(start)
  return (user + system) / times
}

/** `postgres`: CPU µs of PostgreSQL by case, prepared. */
export async function planCosts(
  server: BenchServer,
  project: BenchProject,
  cases: readonly Case[],
  postgres: ReadonlyMap<string, number>,
): Promise<void> {
  const { client } = await ownerOf(server, project)
  const catalogue = await readCatalogue(client)
  await client.end()
  const space = spaceOf(catalogue, undefined)
  console.log('plan: CPU of parse and SQL, beside that of PostgreSQL for the request')
  for (const one of cases) {
    const call = callOf(one)
    const asked = Array.from({ length: USERS }, (_, user) => askedOf(one, user, user))
    const plan = (i: number) => prepare(asked[i % USERS]!, call, space, catalogue, 'public')
    const cached: number[] = []
    const fresh: number[] = []
    cpu(CACHED / 10, plan)
    for (let round = 0; round < ROUNDS; round++) {
      cached.push(cpu(one.body && one.body.length > 10_000 ? CACHED / 50 : CACHED, plan))
      fresh.push(
        cpu(NEW, (i) => {
          space.plans.clear()
          return plan(i)
        }),
      )
    }
    const whole = postgres.get(one.name) ?? Number.NaN
    console.log(
      `  ${one.name.padEnd(22)} cached ${median(cached).toFixed(1)} µs, new ${median(fresh).toFixed(1)} µs  (PostgreSQL ${whole.toFixed(0)} µs)`,
    )
    bar(`${one.name}: cached shape`, (100 * median(cached)) / whole, 5, '%')
    bar(`${one.name}: new shape`, (100 * median(fresh)) / whole, 100, '%')
  }
}
