import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'

/** Tags of DER (X.690). */
const [INTEGER, BIT_STRING, NULL, OID, UTF8, SEQUENCE, SET] = [0x02, 0x03, 0x05, 0x06, 0x0c, 0x30, 0x31] as const
const [UTC_TIME, GENERALIZED_TIME] = [0x17, 0x18] as const
/** sha256WithRSAEncryption and commonName, as their bytes are. */
const RSA_SHA256 = Buffer.from('2a864886f70d01010b', 'hex')
const COMMON_NAME = Buffer.from('550403', 'hex')
const YEARS = 20
const DAY = 86_400_000

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const bytes: number[] = []
  for (let left = body.length; left > 0; left >>>= 8) bytes.unshift(left & 0xff)
  const length = body.length < 0x80 ? [body.length] : [0x80 | bytes.length, ...bytes]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

/** Two digits of the year until 2049 (RFC 5280 §4.1.2.5). */
function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().replace(/[-:T]|\..*/g, '')}Z`
  return text < '2050' ? der(UTC_TIME, Buffer.from(text.slice(2))) : der(GENERALIZED_TIME, Buffer.from(text))
}

/**
 * An X.509 certificate of an RSA key by itself. Identity providers want a key in this wrapping and look at nothing else in it; Node makes
 * none, and the libraries that do bring ten others along.
 */
export function selfSigned(pem: string, { name, seed, now }: { name: string; seed: string; now: number }): string {
  const key = createPrivateKey(pem)
  const algorithm = der(SEQUENCE, der(OID, RSA_SHA256), der(NULL))
  const subject = der(SEQUENCE, der(SET, der(SEQUENCE, der(OID, COMMON_NAME), der(UTF8, Buffer.from(name.slice(0, 64))))))
  // Positive, its first byte not superfluous, and the same whenever it is made.
  const serial = Buffer.concat([Buffer.from([0x01]), createHash('sha256').update(`${seed} ${now}`).digest().subarray(0, 15)])
  const body = der(
    SEQUENCE,
    der(INTEGER, serial),
    algorithm,
    subject,
    der(SEQUENCE, time(now - DAY), time(now + YEARS * 365 * DAY)),
    subject,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
  )
  const whole = der(SEQUENCE, body, algorithm, der(BIT_STRING, Buffer.from([0]), sign('sha256', body, key)))
  const lines = whole.toString('base64').replace(/(.{64})/g, '$1\n')
  return `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`
}
