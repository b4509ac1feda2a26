import { connect, type Socket } from 'node:net'
import type { Endpoint } from '../../runtime/driver.ts'
import type { Cancels, IssuedKey, RealKey } from './cancels.ts'
import type { Inbox } from './inbox.ts'
import {
  cancelPacket,
  errorFields,
  frame,
  HEADER,
  MAX_CLUSTER_FRAME,
  MAX_SIGN_IN_FRAME,
  malformedSignIn,
  type Refusal,
  warning,
  wrongPassword,
} from './messages.ts'
import { Decoy, Exchange, withoutBinding } from './scram.ts'

const OK = 0
const CLEARTEXT = 3
const MD5 = 5
const SASL = 10
const SASL_CONTINUE = 11
const SASL_FINAL = 12
/** PostgreSQL's default; also what the passwords that we make for `postgres` have. */
const ITERATIONS = 4096
const CANCEL_MS = 5_000

/** How a sign-in ended: null (the cluster said AuthenticationOk), a refusal for the client, or the peer left. */
export type Outcome = { readonly passed: boolean; readonly guessed: boolean; readonly refusal: Refusal | null }

const left = (guessed: boolean): Outcome => ({ passed: false, guessed, refusal: null })
const refused = (guessed: boolean, refusal: Refusal): Outcome => ({ passed: false, guessed, refusal })

export function dialCluster({ host, port }: Endpoint, signal: AbortSignal): Promise<Socket> {
  const socket = host.startsWith('/')
    ? connect({ path: `${host}/.s.PGSQL.${port}`, allowHalfOpen: true })
    : connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true })
  return new Promise((resolve, reject) => {
    const aborted = () => socket.destroy(signal.reason as Error)
    signal.addEventListener('abort', aborted)
    const settle = () => signal.removeEventListener('abort', aborted)
    socket.once('connect', () => {
      settle()
      resolve(socket)
    })
    socket.on('error', (error) => {
      settle()
      reject(error)
    })
  })
}

/** A cancel for a session of the cluster's; resolves when the cluster has closed, since the client takes our close as "sent". */
export async function passCancel({ endpoint, pid, secret }: RealKey): Promise<void> {
  const signal = AbortSignal.timeout(CANCEL_MS)
  const cluster = await dialCluster(endpoint, signal).catch(() => null)
  if (!cluster) return
  await new Promise<void>((resolve) => {
    cluster.once('close', () => resolve())
    cluster.once('end', () => cluster.destroy())
    signal.addEventListener('abort', () => cluster.destroy())
    cluster.resume().end(cancelPacket(pid, secret))
  })
}

/** The exchange of passwords, frame by frame: client and cluster do SCRAM with each other, this only looks on (and never sees a password). */
export async function signIn(client: Inbox, cluster: Inbox, role: string): Promise<Outcome> {
  const exchange = new Exchange()
  for (;;) {
    const message = await cluster.frame(MAX_CLUSTER_FRAME)
    if (!message) return left(exchange.guessed)
    const type = String.fromCharCode(message[0] ?? 0)
    if (type === 'E') return refused(exchange.guessed, refusalOf(message, role))
    const kind = type === 'R' ? message.readUInt32BE(HEADER) : -1
    // AuthenticationOk is not passed on yet: the project may have too many sessions.
    if (kind === OK) return { passed: true, guessed: exchange.guessed, refusal: null }
    client.socket.write(kind === SASL ? withoutBinding(message) : message)
    const answered = kind === SASL || kind === SASL_CONTINUE || kind === CLEARTEXT || kind === MD5
    if (!answered) {
      if (type === 'R' && kind !== SASL_FINAL) return refused(exchange.guessed, unknownMethod)
      continue
    }
    const answer = await client.frame(MAX_SIGN_IN_FRAME)
    if (!answer) return client.ended ? left(exchange.guessed) : refused(exchange.guessed, malformedSignIn)
    const wrong = answer[0] === 0x70 ? (kind === SASL || kind === SASL_CONTINUE ? exchange.check(answer) : null) : malformedSignIn
    if (wrong) return refused(exchange.guessed, wrong)
    cluster.socket.write(answer)
  }
}

/** The same conversation with nobody behind it, for a project that does not exist: always a wrong password. */
export async function pretend(client: Inbox, secret: Buffer, { role, ref }: { role: string; ref: string }): Promise<Outcome> {
  const exchange = new Exchange()
  const decoy = new Decoy(secret, `${ref}/${role}`, ITERATIONS)
  for (const step of [0, 1]) {
    client.socket.write(step === 0 ? decoy.offer : decoy.challenge(exchange.nonce))
    const answer = await client.frame(MAX_SIGN_IN_FRAME)
    if (!answer) return client.ended ? left(exchange.guessed) : refused(exchange.guessed, malformedSignIn)
    const wrong = answer[0] === 0x70 ? exchange.check(answer) : malformedSignIn
    if (wrong) return refused(exchange.guessed, wrong)
    if (step === 1 && exchange.finalNonce(answer) !== decoy.nonce) return refused(true, malformedSignIn)
  }
  return refused(true, wrongPassword(role))
}

/** What a cluster says before AuthenticationOk, without its source lines; the usual cases in the words that `pretend` has too. */
function refusalOf(message: Buffer, role: string): Refusal {
  const fields = errorFields(message)
  const code = fields.get('C') ?? ''
  if (code === '28P01') return wrongPassword(role)
  if (code === '08P01') return malformedSignIn
  const hint = fields.get('H')
  return { code, message: fields.get('M') ?? 'refused', ...(hint ? { hint } : {}) }
}

const unknownMethod: Refusal = { code: '28000', message: 'the cluster asks for a way to sign in that this listener does not pass on' }

/**
 * From AuthenticationOk to the first ReadyForQuery: passed on, but for the cluster's cancel key, which becomes one of ours.
 * False where the session ended before. `notice` is told before it begins.
 */
export async function greet(
  client: Inbox,
  cluster: Inbox,
  endpoint: Endpoint,
  cancels: Cancels,
  notice: Refusal | null = null,
): Promise<{ ready: boolean; key: IssuedKey | null }> {
  let key: IssuedKey | null = null
  client.socket.write(frame('R', Buffer.alloc(4)))
  for (;;) {
    const message = await cluster.frame(MAX_CLUSTER_FRAME)
    if (!message) return { ready: false, key }
    const type = String.fromCharCode(message[0] ?? 0)
    if (type === 'K' && key === null) {
      key = cancels.issue({ endpoint, pid: message.readInt32BE(HEADER), secret: Buffer.from(message.subarray(HEADER + 4)) })
      const pid = Buffer.alloc(4)
      pid.writeInt32BE(key.pid)
      client.socket.write(frame('K', Buffer.concat([pid, key.secret])))
      continue
    }
    if (type === 'Z' && notice) client.socket.write(warning(notice))
    client.socket.write(message)
    if (type === 'Z') return { ready: true, key }
    if (type === 'E') return { ready: false, key }
  }
}
