import { createHmac, randomBytes } from 'node:crypto'
import { frame, HEADER, malformedSignIn, type Refusal } from './messages.ts'

/** The only mechanism: TLS ends here, so the cluster cannot know our certificate, and a binding to it (-PLUS) cannot be checked. */
export const MECHANISM = 'SCRAM-SHA-256'

export const noChannelBinding: Refusal = {
  code: '28000',
  message: 'channel binding is not available on this listener',
  hint: 'Connect with channel_binding=prefer or disable: TLS ends at the listener, the password is checked by the project behind it.',
}

const SASL = 10
const SASL_CONTINUE = 11
const FIRST = /^([ny]),,n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)$/
const FINAL = /^c=(biws|eSws),r=([\x21-\x2b\x2d-\x7e]+),p=([A-Za-z0-9+/]{43}=)$/
const BINDING: Readonly<Record<string, string>> = { n: 'biws', y: 'eSws' }

export const authentication = (kind: number, text: string): Buffer => {
  const body = Buffer.alloc(4 + text.length)
  body.writeUInt32BE(kind, 0)
  body.write(text, 4, 'latin1')
  return frame('R', body)
}

/** Offers what can be kept: mechanisms of a cluster's offer less those that bind to a channel. */
export function withoutBinding(offer: Buffer): Buffer {
  const names = offer.toString('latin1', HEADER + 4).split('\0')
  return authentication(SASL, `${names.filter((name) => name !== '' && !name.endsWith('-PLUS')).join('\0')}\0\0`)
}

/**
 * Watches one exchange (RFC 5802): both messages of a client are checked for their form before they go on, so that malformed ones are
 * refused in the same words whether a cluster or nobody is behind.
 */
export class Exchange {
  #flag = ''
  #nonce = ''
  #sent = 0

  /** A proof was sent: this was a try at the password. */
  get guessed(): boolean {
    return this.#sent > 1
  }

  /** Nothing when the client's frame is well-formed. */
  check(message: Buffer): Refusal | null {
    this.#sent++
    if (this.#sent === 1) return this.#first(message)
    const final = this.#sent === 2 ? FINAL.exec(message.toString('latin1', HEADER)) : null
    return final && final[1] === BINDING[this.#flag] && final[2]?.startsWith(this.#nonce) ? null : malformedSignIn
  }

  #first(message: Buffer): Refusal | null {
    const end = message.indexOf(0, HEADER)
    if (end < 0 || message.length < end + 5) return malformedSignIn
    const mechanism = message.toString('latin1', HEADER, end)
    const text = message.toString('latin1', end + 5)
    if (mechanism.endsWith('-PLUS') || text.startsWith('p=')) return noChannelBinding
    const first = FIRST.exec(text)
    if (mechanism !== MECHANISM || !first || message.readUInt32BE(end + 1) !== text.length) return malformedSignIn
    this.#flag = first[1] ?? ''
    this.#nonce = first[2] ?? ''
    return null
  }

  get nonce(): string {
    return this.#nonce
  }

  finalNonce(message: Buffer): string {
    return FINAL.exec(message.toString('latin1', HEADER))?.[2] ?? ''
  }
}

/** What a cluster would say for a project that does not exist: the same salt each time, a fresh nonce, and never a yes. */
export class Decoy {
  readonly offer = authentication(SASL, `${MECHANISM}\0\0`)
  readonly #salt: string
  readonly #iterations: number
  #nonce = ''

  constructor(secret: Buffer, subject: string, iterations: number) {
    this.#salt = createHmac('sha256', secret).update(subject).digest().subarray(0, 16).toString('base64')
    this.#iterations = iterations
  }

  challenge(clientNonce: string): Buffer {
    this.#nonce = clientNonce + randomBytes(18).toString('base64')
    return authentication(SASL_CONTINUE, `r=${this.#nonce},s=${this.#salt},i=${this.#iterations}`)
  }

  get nonce(): string {
    return this.#nonce
  }
}
