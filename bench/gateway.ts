/** CPU of resolve + authenticate on a warm cache, and of the first sight of a token beside the bare `crypto.verify`. */
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { startGateway } from '../packages/server/src/gateway/gateway.testing.ts'
import { makeRewrite, resolveHook } from '../packages/server/src/gateway/resolve.ts'

const ROUNDS = 5
const REQUESTS = 100_000
const USERS = 500

/** µs of CPU for one run of `fn`. */
function cpu(times: number, fn: (i: number) => void): number {
  const start = process.cpuUsage()
  for (let i = 0; i < times; i++) fn(i)
  const { user, system } = process.cpuUsage(start)
  return (user + system) / times
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0

const node = await startGateway()
const project = await node.addProject(await node.addOrganisation('bench'))
const context = await node.gateway.projects.get(project.ref)
if (!context) process.exit(1)
const rewrite = makeRewrite(node.addressing)
const resolve = resolveHook(node.gateway.projects)
const { authenticator } = node.gateway
const tokenOf = (round: number, i: number) =>
  project.user({ sub: `user-${i}`, session_id: `session-${round}-${i}`, user_metadata: { name: 'x'.repeat(80) } })
// As bytes, so that each request has fresh strings, as from a socket.
const headers = Array.from({ length: USERS }, (_, i) => Buffer.from(`Bearer ${tokenOf(0, i)}`))
const apikey = Buffer.from(project.keys.anon.text)
const routeOptions = { config: { project: true } }

function request(i: number): void {
  const raw = { url: `/p/${project.ref}/rest/v1/todos?id=eq.${i}`, headers: { host: 'x' } }
  raw.url = rewrite(raw as never)
  const asked = { raw, routeOptions, is404: false, project: null }
  resolve(asked as unknown as FastifyRequest, undefined as unknown as FastifyReply, () => {})
  authenticator.authenticate(asked.project!, headers[i % USERS]!.toString('latin1'), apikey.toString('latin1'))
}

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const text = Buffer.alloc(500)
const signature = sign('sha256', text, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' })
const warm: number[] = []
const first: number[] = []
const bare: number[] = []
for (let round = 1; round <= ROUNDS; round++) {
  const fresh = Array.from({ length: USERS }, (_, i) => tokenOf(round, i))
  bare.push(cpu(USERS, () => verify('sha256', text, { key: pair.publicKey, dsaEncoding: 'ieee-p1363' }, signature)))
  first.push(cpu(USERS, (i) => authenticator.credential(context, fresh[i]!)))
  warm.push(cpu(REQUESTS, request))
}
const [w, f, b] = [median(warm), median(first), median(bare)]
process.stdout.write(`resolve + authenticate, warm: ${w.toFixed(2)} µs (bar 10)\n`)
process.stdout.write(
  `first sight of an ES256 token: ${f.toFixed(0)} µs = ${(f / b).toFixed(2)} × bare crypto.verify (${b.toFixed(0)} µs; bar 2)\n`,
)
await node.close()
