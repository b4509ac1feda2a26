/**
 * A P-256 signature as JWTs have it, r and s of 32 bytes each (RFC 7518, 3.4), and as ASN.1 (RFC 3279, 2.2.3). By ourselves: asked for the first
 * form, Node needs 22 µs more to sign and 18 µs more to verify than for the second.
 */
const HALF = 32
const SEQUENCE = 0x30
const INTEGER = 0x02
const SIGN = 0x80

/** The INTEGER at `at`, right-aligned into half of `raw`; answers where the next begins. */
function putInteger(der: Buffer, at: number, raw: Buffer, half: number): number {
  const end = at + 2 + der[at + 1]!
  // A zero may stand in front of 32 bytes, lest the first bit be taken for a sign.
  const from = Math.max(at + 2, end - HALF)
  der.copy(raw, half + HALF - (end - from), from, end)
  return end
}

/** Of a signature that Node made itself. */
export function rawOf(der: Buffer): Buffer {
  const raw = Buffer.alloc(2 * HALF)
  putInteger(der, putInteger(der, 2, raw, 0), raw, HALF)
  return raw
}

/** Half of `raw` as an INTEGER: without leading zeros, but one where the first bit would be a sign. Answers its end. */
function writeInteger(der: Buffer, at: number, raw: Buffer, half: number): number {
  let from = half
  while (from < half + HALF - 1 && raw[from] === 0) from++
  const pad = raw[from]! < SIGN ? 0 : 1
  const length = half + HALF - from + pad
  der[at] = INTEGER
  der[at + 1] = length
  der[at + 2] = 0
  raw.copy(der, at + 2 + pad, from, half + HALF)
  return at + 2 + length
}

/** Of anybody's; null: it has not the length of one. */
export function derOf(raw: Buffer): Buffer | null {
  if (raw.length !== 2 * HALF) return null
  const der = Buffer.alloc(2 + 2 * (HALF + 3))
  const end = writeInteger(der, writeInteger(der, 2, raw, 0), raw, HALF)
  der[0] = SEQUENCE
  der[1] = end - 2
  return der.subarray(0, end)
}
