/** Sign-ins by password, one after another, beside the bare hash. */
import { argon2Sync, randomBytes } from 'node:crypto'
import { bar, median, ms } from './figures.ts'
import type { PocketBase } from './pocketbase.ts'
import { cpuOfTree, postmastersOf } from './proc.ts'
import type { BenchProject, BenchServer } from './server.ts'

export const EMAIL = 'bench@example.org'
export const PASSWORD = 'correct horse battery staple'
/** As realms/hashing.ts makes them. */
const HASH = { parallelism: 1, tagLength: 32, memory: 19_456, passes: 2 } as const
export const hash = () => ({ ...HASH, message: PASSWORD, nonce: randomBytes(16) })

/** Sign-ins before the first that counts: a server that has just started still compiles what it runs. */
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
    const answer = await fetch(url, request)
    const text = await answer.text()
    if (!answer.ok && answer.status !== 429) throw new Error(`${url}: ${answer.status} ${text}`)
    return text
  }
}

export const ourSignIn = (server: BenchServer, { ref, anonKey }: BenchProject): SignIn =>
  signIn(`${server.url}/p/${ref}/auth/v1/token?grant_type=password`, { apikey: anonKey }, { email: EMAIL, password: PASSWORD })

export const peerSignIn = ({ port }: PocketBase): SignIn =>
  signIn(`http://127.0.0.1:${port}/api/collections/users/auth-with-password`, {}, { identity: EMAIL, password: PASSWORD })

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
  const seen = { bare: [] as number[], ours: [] as number[], postgres: [] as number[], peer: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    seen.bare.push(bareHash(signIns))
    const before = cluster === undefined ? 0 : cpuOfTree(cluster)
    seen.ours.push(await cpuOf(root, signIns, enter))
    seen.postgres.push(((cluster === undefined ? 0 : cpuOfTree(cluster)) - before) / signIns)
    if (peer) seen.peer.push(await cpuOf(peer.pid, signIns, peerSignIn(peer)))
  }
  const text = (values: readonly number[]) => ms(median(values) / 1000)
  console.log(
    `password sign-in, one after another: ${text(seen.ours)} of CPU, PostgreSQL ${text(seen.postgres)} of it; the bare hash ${text(seen.bare)}`,
  )
  bar('password sign-in by the bare hash', median(seen.ours.map((cpu, i) => cpu / seen.bare[i]!)), 1.15)
  if (peer)
    console.log(
      `        (PocketBase, which hashes with bcrypt: ${text(seen.peer)}; ours ${(median(seen.ours) / median(seen.peer)).toFixed(2)} × that)`,
    )
}
