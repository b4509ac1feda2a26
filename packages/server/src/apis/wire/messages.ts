/**
 * PostgreSQL's protocol 3 as far as a listener in front of clusters must read it: the start-up packet, the frames of a sign-in, errors.
 * Texts are handled as latin1, so that whatever bytes a client sends are passed on as they were. Source: PostgreSQL 18, chapter 54.
 */
export const SSL_REQUEST = 80_877_103
export const GSSENC_REQUEST = 80_877_104
export const CANCEL_REQUEST = 80_877_102
/** PostgreSQL's own limit of a start-up packet. */
export const MAX_STARTUP = 10_000
/** Frames of a sign-in; PostgreSQL allows 64 KiB for other methods, SCRAM needs a fraction of this. */
export const MAX_SIGN_IN_FRAME = 8_192
/** Frames that a cluster sends between sign-in and its first ReadyForQuery (parameters, notices of login triggers). */
export const MAX_CLUSTER_FRAME = 1 << 20
export const HEADER = 5

const MIN_SECRET = 4
const MAX_SECRET = 256
const PROTOCOL_MAJOR = 3
const NEWEST_MINOR = 2
export const NEWEST_PROTOCOL = (PROTOCOL_MAJOR << 16) | NEWEST_MINOR

export interface Startup {
  readonly kind: 'startup'
  readonly version: number
  readonly parameters: ReadonlyMap<string, string>
}

export interface Cancel {
  readonly kind: 'cancel'
  readonly pid: number
  readonly secret: Buffer
}

/** A refusal in PostgreSQL's own terms. */
export interface Refusal {
  /** SQLSTATE */
  readonly code: string
  readonly message: string
  readonly hint?: string
}

/** The packet after its length: a start-up, a cancel, or why it is neither. */
export function parseStartup(packet: Buffer): Startup | Cancel | Refusal {
  const version = packet.readUInt32BE(4)
  if (version === CANCEL_REQUEST) {
    const secret = packet.subarray(12)
    if (secret.length < MIN_SECRET || secret.length > MAX_SECRET) return malformed
    return { kind: 'cancel', pid: packet.readInt32BE(8), secret: Buffer.from(secret) }
  }
  if (version >>> 16 !== PROTOCOL_MAJOR) {
    const found = `${version >>> 16}.${version & 0xffff}`
    return { code: '0A000', message: `unsupported frontend protocol ${found}: server supports 3.0 to 3.${NEWEST_MINOR}` }
  }
  if (packet.length < 9 || packet.at(-1) !== 0) return malformed
  // name\0value\0 … \0
  const texts = packet.toString('latin1', 8, packet.length - 1).split('\0')
  if (texts.pop() !== '' || texts.length % 2 !== 0) return malformed
  const parameters = new Map<string, string>()
  for (let i = 0; i < texts.length; i += 2) {
    if (texts[i] === '') return malformed
    parameters.set(texts[i] ?? '', texts[i + 1] ?? '')
  }
  return { kind: 'startup', version, parameters }
}

const malformed: Refusal = { code: '08P01', message: 'invalid startup packet' }

export function startupPacket(version: number, parameters: ReadonlyMap<string, string>): Buffer {
  const texts = [...parameters].map(([name, value]) => `${name}\0${value}\0`).join('')
  const packet = Buffer.alloc(9 + texts.length)
  packet.writeUInt32BE(packet.length, 0)
  packet.writeUInt32BE(version, 4)
  packet.write(texts, 8, 'latin1')
  return packet
}

export function cancelPacket(pid: number, secret: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt32BE(12 + secret.length, 0)
  head.writeUInt32BE(CANCEL_REQUEST, 4)
  head.writeInt32BE(pid, 8)
  return Buffer.concat([head, secret])
}

/** A frame: type, length, body. */
export function frame(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(HEADER)
  head.write(type, 0, 'latin1')
  head.writeUInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

/** ErrorResponse that ends the connection. No source file or line: an error of ours reads as one of the cluster's. */
export const fatal = (why: Refusal): Buffer => said('E', 'FATAL', why)

/** NoticeResponse: told, and the session goes on. */
export const warning = (what: Refusal): Buffer => said('N', 'WARNING', what)

function said(type: 'E' | 'N', severity: string, { code, message, hint }: Refusal): Buffer {
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${message}`, ...(hint ? [`H${hint}`] : [])]
  return frame(type, Buffer.from(`${fields.join('\0')}\0\0`, 'latin1'))
}

/** The fields of an ErrorResponse by their letter. */
export function errorFields(whole: Buffer): Map<string, string> {
  const texts = whole.toString('latin1', HEADER).split('\0')
  return new Map(texts.filter((text) => text !== '').map((text) => [text.charAt(0), text.slice(1)]))
}

export const isRefusal = (value: object): value is Refusal => 'code' in value

/** The same words whether the project, the role or the password is wrong. */
export const wrongPassword = (role: string): Refusal => ({ code: '28P01', message: `password authentication failed for user "${role}"` })
export const malformedSignIn: Refusal = { code: '08P01', message: 'malformed sign-in message' }

const READY = Buffer.from([0x5a, 0, 0, 0, 5])
export const READY_LENGTH = 6
/** Pieces up to this length are searched for a ReadyForQuery that is not at their very end. */
const SMALL = 16_384
/** NoticeResponse, ParameterStatus, NotificationResponse: what may follow ReadyForQuery unasked. */
const UNASKED = new Set([0x4e, 0x53, 0x41])

/** A client's goodbye. Only between statements: within one the same bytes may be data. */
export const isTerminate = (chunk: Buffer): boolean => chunk.length === HEADER && chunk[0] === 0x58 && chunk.readUInt32BE(1) === 4

/**
 * Does this piece of a cluster's stream end with ReadyForQuery, and nothing but unasked messages after it? Looks at the end only: what
 * passes is not parsed. A row whose bytes happen to look so is no harm: the engine is asked as well before a cluster sleeps.
 */
export function endsReady(chunk: Buffer): boolean {
  const end = chunk.length
  if (end >= READY_LENGTH && chunk[end - READY_LENGTH] === 0x5a && chunk.readUInt32BE(end - HEADER) === 5) return true
  let at = end > SMALL ? -1 : chunk.lastIndexOf(READY)
  if (at < 0) return false
  at += READY_LENGTH
  while (at + HEADER <= end && UNASKED.has(chunk[at] ?? 0)) at += 1 + chunk.readUInt32BE(at + 1)
  return at === end
}
