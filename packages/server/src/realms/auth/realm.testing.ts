import { createSecretKey, generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AuthSettings } from '@sovrabase/contract/auth'
import { makeOutbound, type Outbound } from '../../base/outbound.ts'
import { makeHasher } from '../hashing.ts'
import type { RealmKey } from '../keys.ts'
import { readLanguages } from '../mail/languages.ts'
import type { Transact } from '../realm.testing.ts'
import type { Realm } from './realm.ts'
import { rulesOf } from './rules.ts'

const START = Date.UTC(2026, 10, 1, 12)
// What the rules do is looked at here, not what a hash costs: hashing.test.ts does.
const hasher = makeHasher({ memory: 64 })
const languages = readLanguages(null)
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const key: RealmKey = {
  realm: 'test',
  kid: 'test',
  alg: 'ES256',
  use: 'user',
  state: 'current',
  key: privateKey,
  publicKey,
  secret: null,
  createdAt: START,
  expiresAt: null,
}

/** A realm over a store, its clock and what became of it in the test's hands. */
export interface TestRealm extends Realm {
  at: number
  readonly ended: string[]
  readonly pauses: number[]
  /** The same people under other settings, or for another caller. */
  like(settings: AuthSettings, caller?: { ip?: string; administers?: boolean }): TestRealm
}

const nothing: Outbound['fetch'] = async () => Promise.reject(new Error('no outbound in this test'))

export function testRealm(transact: Transact, settings: AuthSettings = {}, fetch: Outbound['fetch'] = nothing): TestRealm {
  const shared = { at: START, ended: [] as string[], pauses: [] as number[] }
  const make = (own: AuthSettings, { ip = '192.0.2.1', administers = false } = {}): TestRealm => ({
    ...shared,
    get at() {
      return shared.at
    },
    set at(ms: number) {
      shared.at = ms
    },
    url: 'https://p.example.org',
    issuer: 'https://p.example.org/auth/v1',
    api: 'https://p.example.org/auth/v1',
    rules: rulesOf(own),
    key,
    audience: null,
    administers,
    fetch,
    pepper: createSecretKey(Buffer.alloc(32, 7)),
    hasher,
    languages,
    now: () => shared.at,
    caller: { ip, userAgent: 'test', requestId: 'r', language: null },
    transact,
    deny: async (ids) => void shared.ended.push(...ids),
    poke: () => undefined,
    pause: async (ms) => void shared.pauses.push(ms),
    like: make,
  })
  return make(settings)
}

export interface Called {
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A server of the project's people on loopback: `answer` may be changed between calls. */
export async function startReceiver() {
  const calls: Called[] = []
  const receiver = {
    calls,
    answer: (_call: Called): { status?: number; headers?: Record<string, string>; body: unknown } => ({ body: {} }),
    url: '',
    fetch: nothing,
    close: async () => {},
  }
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk))
    request.on('end', () => {
      const call = { url: request.url ?? '', headers: request.headers, body }
      calls.push(call)
      const { status = 200, headers = { 'content-type': 'application/json' }, body: said } = receiver.answer(call)
      response.writeHead(status, headers).end(typeof said === 'string' ? said : JSON.stringify(said))
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const outbound = makeOutbound({ allow: ['127.0.0.1/32'], ownListeners: () => [], caFile: null, proxy: null })
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  receiver.fetch = (url, request) => outbound.fetch(url, request)
  receiver.close = async () => {
    await outbound.close()
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
  return receiver
}
