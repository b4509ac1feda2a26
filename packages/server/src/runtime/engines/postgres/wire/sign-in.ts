import net from 'node:net'
import type { Duplex } from 'node:stream'
import type pg from 'pg'
import { nodePg } from '../../../../base/later.ts'
import { connectionLost } from './errors.ts'
import { cancelRequest } from './protocol.ts'

/** Where and as whom a pool signs in. */
export interface SignIn {
  /** Directory of the unix socket, or a host name. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password?: string
  readonly database: string
  readonly ssl?: pg.ClientConfig['ssl']
  /** ms until a connection must have signed in. */
  readonly connectTimeout: number
}

/** A signed-in socket at ReadyForQuery, without a listener for its data. */
export interface SignedIn {
  readonly stream: Duplex
  /** The key with which what runs here can be cancelled. */
  readonly pid: number
  readonly key: number
}

interface Inside {
  connection: { stream: Duplex }
  processID: number | null
  secretKey: number | null
}

const CANCEL_TIMEOUT = 2_000
const quoteOption = (value: string): string => value.replace(/[\\ ]/g, '\\$&')

/**
 * Start-up, TLS and SCRAM are `pg`'s; then its listeners are taken off and the socket is ours.
 * `settings` hold for the session.
 */
export async function signIn(at: SignIn, settings: Readonly<Record<string, string>>): Promise<SignedIn> {
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${quoteOption(value)}`)
  const client = new (nodePg().Client)({
    host: at.host,
    port: at.port,
    user: at.user,
    password: at.password ?? '',
    database: at.database,
    ssl: at.ssl ?? false,
    options: options.join(' '),
    application_name: 'sovrabase',
    connectionTimeoutMillis: at.connectTimeout,
  })
  client.on('error', () => undefined)
  await client.connect()
  const inside = client as unknown as Inside
  const stream = inside.connection.stream
  stream.removeAllListeners('data')
  return { stream, pid: inside.processID ?? 0, key: inside.secretKey ?? 0 }
}

/**
 * Asks the server to cancel what runs in the backend of this key. Resolves when the server has closed the connection, that is
 * after it signalled the backend; rejects when that is not sure. Sent in clear text, as libpq does: the key is of use only here.
 */
export function sendCancel(at: SignIn, pid: number, key: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = at.host.startsWith('/') ? net.connect(`${at.host}/.s.PGSQL.${at.port}`) : net.connect(at.port, at.host)
    socket.setTimeout(CANCEL_TIMEOUT, () => socket.destroy(connectionLost('no answer to a cancel request', false)))
    socket.once('connect', () => socket.write(cancelRequest(pid, key)))
    socket.once('error', reject)
    socket.once('close', (failed) => {
      if (!failed) resolve()
    })
    socket.resume()
  })
}
