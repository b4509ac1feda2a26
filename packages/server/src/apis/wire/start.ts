import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import { REFUSED_ON_THE_WIRE } from '../../runtime/engines/postgres/names.ts'
import { Inbox } from './inbox.ts'
import {
  type Cancel,
  frame,
  GSSENC_REQUEST,
  MAX_STARTUP,
  NEWEST_PROTOCOL,
  parseStartup,
  type Refusal,
  SSL_REQUEST,
  type Startup,
} from './messages.ts'

const TLS_HANDSHAKE = 0x16
const MIN_STARTUP = 8
/** Registered for TLS without SSLRequest (PostgreSQL 17); required there, so that no other protocol's TLS is taken for ours. */
const ALPN = 'postgresql'
const MAX_NAME = 63
const REF = /^[a-z]{20}$/
/** Its own kinds of sign-in: what the cluster would refuse before a password is asked for. */
const REPLICATION = new Set(['database', 'false', 'off', 'no', '0'])

export interface Opened {
  readonly inbox: Inbox
  readonly first: Startup | Cancel | Refusal
}

/** Reads up to the start-up packet, with TLS on the way if the client asks for it. Null: the peer left or is no client of PostgreSQL. */
export async function readStart(socket: Socket, tls: SecureContext | null): Promise<Opened | null> {
  let inbox = new Inbox(socket)
  let encrypted = false
  let asked = 0
  if (tls && (await inbox.peek(1))?.[0] === TLS_HANDSHAKE) {
    const secured = await encrypt(inbox, tls)
    if (secured?.alpnProtocol !== ALPN) return null
    inbox = new Inbox(secured)
    encrypted = true
  }
  for (;;) {
    const head = await inbox.peek(MIN_STARTUP)
    const length = head?.readUInt32BE(0) ?? 0
    if (!head || length < MIN_STARTUP || length > MAX_STARTUP) return null
    const packet = await inbox.take(length)
    if (!packet) return null
    const code = packet.readUInt32BE(4)
    if (code !== SSL_REQUEST && code !== GSSENC_REQUEST) return { inbox, first: parseStartup(packet) }
    // Each once, nothing behind it: bytes sent in the clear must not be taken for the encrypted start (CVE-2021-23214).
    if (length !== MIN_STARTUP || ++asked > 2 || encrypted || inbox.length > 0) return null
    const yes = code === SSL_REQUEST && tls !== null
    inbox.socket.write(yes ? 'S' : 'N')
    if (!yes) continue
    const secured = await encrypt(inbox, tls)
    if (!secured) return null
    inbox = new Inbox(secured)
    encrypted = true
  }
}

function encrypt(inbox: Inbox, secureContext: SecureContext): Promise<TLSSocket | null> {
  const rest = inbox.release()
  if (rest.length > 0) inbox.socket.unshift(rest)
  const secured = new TLSSocket(inbox.socket, { isServer: true, secureContext, ALPNProtocols: [ALPN] })
  return new Promise((resolve) => {
    secured.once('secure', () => resolve(secured))
    secured.once('close', () => resolve(null))
    secured.on('error', () => secured.destroy())
  })
}

export interface Target {
  readonly role: string
  readonly ref: string
  /** What the cluster is sent: the role without the project, one database, no protocol option that it would have to refuse. */
  readonly version: number
  readonly parameters: ReadonlyMap<string, string>
  /** NegotiateProtocolVersion, where the client asked for more than there is; said by us, so that it shows nothing of a project. */
  readonly negotiate: Buffer | null
}

/** `<role>.<ref>` names both; no database, or one named like the user (libpq's default), is `postgres`. */
export function targetOf(startup: Startup): Target | Refusal {
  const user = startup.parameters.get('user') ?? ''
  const dot = user.lastIndexOf('.')
  const [role, ref] = [user.slice(0, Math.max(dot, 0)), user.slice(dot + 1)]
  if (role === '' || role.length > MAX_NAME || !REF.test(ref)) {
    const hint = 'Sign in as postgres.<ref>, with the ref of the project: its connection string has it (sovra db url).'
    return { code: '28000', message: 'the user must be named <role>.<project ref>', hint }
  }
  // What PostgreSQL itself would cut off must not make a reserved name of another one: role has at most 63 bytes here.
  if (REFUSED_ON_THE_WIRE.has(role) || role.startsWith('sovrabase_') || role.startsWith('pg_')) {
    return { code: '28000', message: `role "${role}" may not sign in here`, hint: 'Sign in as postgres.<ref> or with a role of your own.' }
  }
  const replication = startup.parameters.get('replication') ?? 'false'
  if (!REPLICATION.has(replication)) {
    return {
      code: '28000',
      message: 'physical replication is not available here',
      hint: 'Take a dump (pg_dump); backups of whole clusters are made by the server.',
    }
  }
  const database = startup.parameters.get('database') ?? ''
  const options = [...startup.parameters.keys()].filter((name) => name.startsWith('_pq_.'))
  const version = Math.min(startup.version, NEWEST_PROTOCOL)
  const parameters = new Map([...startup.parameters].filter(([name]) => !name.startsWith('_pq_.')))
  parameters.set('user', role)
  parameters.set('database', database === '' || database === user ? 'postgres' : database)
  const negotiate = startup.version > version || options.length > 0 ? negotiation(version, options) : null
  return { role, ref, version, parameters, negotiate }
}

function negotiation(version: number, options: readonly string[]): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(version, 0)
  head.writeUInt32BE(options.length, 4)
  return frame('v', Buffer.concat([head, Buffer.from(options.map((name) => `${name}\0`).join(''), 'latin1')]))
}
