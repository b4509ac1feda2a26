/** Sign-ins by password, one after another, beside the bare hash. */
import { fork } from 'node:child_process'
import { argon2, argon2Sync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { bar, median } from './figures.ts'
import type { PocketBase } from './pocketbase.ts'
import { cpuOfTree, postmastersOf } from './proc.ts'
import type { BenchProject, BenchServer } from './server.ts'

export const EMAIL = 'bench@example.org'
export const PASSWORD = 'correct horse battery staple'
/** As realms/hashing.ts makes them. */
const HASH = { parallelism: 1, tagLength: 32, memory: 19_456, passes: 2 } as const
export const hash = () => ({ ...HASH, message: PASSWORD, nonce: randomBytes(16) })

/** Sign-ins before the first that counts. */
const WARM = 200

/** CPU µs of one bare hash, in this process. */
function bareHash(times: number): number {
  const before = process.cpuUsage()
  for (let i = 0; i < times; i++) argon2Sync('argon2id', hash())
  const { user, system } = process.cpuUsage(before)
  return (user + system) / times
}

export type SignIn = () => Promise<unknown>

/** A sign-in over HTTP; one that is refused with 429 counts as one. */
const signIn = (url: string, headers: Record<string, string>, body: object): SignIn => {
  const request = { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) }
  return async () => {
    // A kept connection may be closed by its server while others are measured.
    const answer = await fetch(url, request).catch(() => fetch(url, request))
    const text = await answer.text()
    if (!answer.ok && answer.status !== 429) throw new Error(`${url}: ${answer.status} ${text}`)
    return text
  }
}

export const ourSignIn = (server: BenchServer, { ref, anonKey }: BenchProject): SignIn =>
  signIn(`${server.url}/p/${ref}/auth/v1/token?grant_type=password`, { apikey: anonKey }, { email: EMAIL, password: PASSWORD })

export const peerSignIn = ({ port }: PocketBase): SignIn =>
  signIn(`http://127.0.0.1:${port}/api/collections/users/auth-with-password`, {}, { identity: EMAIL, password: PASSWORD })

/** The floor: a server that hashes for each request, off its loop, and does nothing else. */
async function startBare(): Promise<{ pid: number; enter: SignIn; stop: () => void }> {
  const child = fork(import.meta.filename, ['serve'])
  const [port] = (await once(child, 'message')) as [number]
  return { pid: child.pid!, enter: signIn(`http://127.0.0.1:${port}/`, {}, {}), stop: () => void child.kill('SIGKILL') }
}

function serveBare(): void {
  const server = createServer((request, response) => {
    request.resume()
    argon2('argon2id', hash(), (_, tag) => response.end(tag.toString('hex')))
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
  process.on('disconnect', () => process.exit(0))
}

/** CPU µs of a process tree for each of so many. */
async function cpuOf(pid: number, times: number, fn: SignIn): Promise<number> {
  const before = cpuOfTree(pid)
  for (let i = 0; i < times; i++) await fn()
  return (cpuOfTree(pid) - before) / times
}

interface Counts {
  readonly rounds: number
  readonly signIns: number
}

export async function signingIn(
  server: BenchServer,
  project: BenchProject,
  peer: PocketBase | null,
  { rounds, signIns }: Counts,
): Promise<void> {
  const root = server.child.pid!
  const [cluster] = postmastersOf(root)
  const enter = ourSignIn(server, project)
  for (let i = 0; i < WARM; i++) await enter()
  const floor = await startBare()
  for (let i = 0; i < WARM; i++) await floor.enter()
  const seen = { bare: [] as number[], floor: [] as number[], ours: [] as number[], postgres: [] as number[], peer: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    seen.bare.push(bareHash(signIns))
    seen.floor.push(await cpuOf(floor.pid, signIns, floor.enter))
    const before = cluster === undefined ? 0 : cpuOfTree(cluster)
    seen.ours.push(await cpuOf(root, signIns, enter))
    seen.postgres.push(((cluster === undefined ? 0 : cpuOfTree(cluster)) - before) / signIns)
    if (peer) seen.peer.push(await cpuOf(peer.pid, signIns, peerSignIn(peer)))
  }
  floor.stop()
  const text = (values: readonly number[]) => `${(median(values) / 1000).toFixed(1)} ms`
  console.log(
    `password sign-in, one after another: ${text(seen.ours)} of CPU, PostgreSQL ${text(seen.postgres)} of it; the bare hash ${text(seen.bare)}`,
  )
  const ratio = (values: readonly number[]) => median(values.map((cpu, i) => cpu / seen.bare[i]!))
  bar('password sign-in by the bare hash', ratio(seen.ours), 1.15)
  console.log(
    `        (a server that hashes for each request and does nothing else: ${text(seen.floor)}, ${ratio(seen.floor).toFixed(2)} ×)`,
  )
  if (peer)
    console.log(
      `        (PocketBase, which hashes with bcrypt: ${text(seen.peer)}; ours ${(median(seen.ours) / median(seen.peer)).toFixed(2)} × that)`,
    )
}

if (process.argv[2] === 'serve') serveBare()
