/**
 * Random and hostile requests to the data API on a real cluster (`--runs 1000000`, `--seed N`): no 5xx, no SQL, the dialect's errors. Not a
 * measurement but the long run of a test; each kind of failure is shown with its smallest example, and fails the whole.
 */
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { startHostile } from '../packages/server/src/apis/rest/hostile/hostile.testing.ts'
import { type HostileRequest, requests } from '../packages/server/src/apis/rest/hostile/requests.testing.ts'

const { values } = parseArgs({ options: { runs: { type: 'string' }, seed: { type: 'string' } } })
const RUNS = Number(values.runs ?? 1_000_000)
const SEED = Number(values.seed ?? Date.now() % 2 ** 31)
const CHUNK = 5_000
const AT_ONCE = 16

interface Kind {
  times: number
  example: HostileRequest
  says: string
}
const kinds = new Map<string, Kind>()
const size = ({ url, body, headers }: HostileRequest): number => url.length + (body?.length ?? 0) + JSON.stringify(headers).length

function note(request: HostileRequest, error: unknown): void {
  const says = error instanceof Error ? error.message : String(error)
  const [, status, code, message = ''] = /^(\d+) \{"code":"(\w+)".*"message":"(.{0,24})/.exec(says) ?? []
  const kind = status === undefined ? says.slice(0, 40) : `${status} ${code} ${message}`
  const known = kinds.get(kind)
  if (known === undefined) kinds.set(kind, { times: 1, example: request, says })
  else {
    known.times++
    if (size(request) < size(known.example)) Object.assign(known, { example: request, says })
  }
}

const hostile = await startHostile()
const began = Date.now()
let done = 0
let statements = 0
console.log(`seed ${SEED}, ${RUNS} requests`)
try {
  while (done < RUNS) {
    const all = fc.sample(requests, { numRuns: Math.min(CHUNK, RUNS - done), seed: SEED + done })
    const left = all[Symbol.iterator]()
    const worker = async () => {
      for (const request of left) await hostile.check(request).catch((error: unknown) => note(request, error))
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    done += all.length
    statements += await hostile.verify()
    const rate = Math.round(done / ((Date.now() - began) / 1_000))
    console.log(
      `${done} requests, ${statements} statements, ${rate}/s, ${[...kinds.values()].reduce((sum, { times }) => sum + times, 0)} failures`,
    )
  }
} finally {
  await hostile.rest.stop()
}
for (const { times, example, says } of kinds.values()) console.log(`\n${times} × ${says}\n    ${JSON.stringify(example)}`)
process.exitCode = kinds.size === 0 ? 0 : 1
