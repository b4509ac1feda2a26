import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { fail, isSovraError, type SovraError } from '../errors.ts'
import type { Outbound, OutboundResponse } from '../outbound.ts'
import { checkKey } from './store.ts'

export interface S3Access {
  /** `https://…` of a provider other than AWS. */
  readonly endpoint?: string
  readonly region?: string
  readonly access_key_id: string
  readonly secret_access_key: string
}

export interface S3Options {
  readonly bucket: string
  /** '' or `a/b`. */
  readonly prefix: string
  readonly access: S3Access
  readonly outbound: Pick<Outbound, 'fetch'>
}

export interface S3Request {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** Bytes of the answer at most. */
  readonly maxBytes?: number
}

const DAY = 86_400_000
const REGION = 'us-east-1'
/** Wrong credentials, or none of the rights: AWS says so of an object that is not there, too, where it may not be listed. */
const DENIED: ReadonlySet<number> = new Set([401, 403])
const TRIES = [200, 1000]
const XML_LIMIT = 8 << 20

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const plain = (xml: string): string =>
  xml.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g, (whole, decimal?: string, hex?: string, name?: string) => {
    if (decimal) return String.fromCodePoint(Number(decimal))
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    return ENTITIES[name ?? ''] ?? whole
  })

/** The text of a plain element: what S3 answers has no attributes or nesting there. */
export const element = (xml: string, name: string): string | undefined => {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return found === undefined ? undefined : plain(found)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/\.$/, '') : 'unknown')
const digest = (body: Buffer | undefined): string =>
  createHash('sha256')
    .update(body ?? '')
    .digest('hex')

/** Signed requests to one bucket. */
export class S3Requests {
  readonly place: string
  readonly #options: S3Options
  readonly #base: string
  readonly #region: string

  constructor(options: S3Options) {
    const { bucket, prefix, access } = options
    this.#options = options
    this.#region = access.region ?? REGION
    this.place = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`
    // A provider of one's own rarely has a name for each bucket.
    this.#base = access.endpoint ? `${access.endpoint.replace(/\/+$/, '')}/${bucket}` : `https://${bucket}.s3.${this.#region}.amazonaws.com`
  }

  failed(reason: string, cause?: unknown): SovraError {
    return fail('store_failed', { place: this.place, reason, uid: '' }, { cause })
  }

  /** With the prefix of the place. */
  whole(key: string): string {
    const { prefix } = this.#options
    return prefix === '' ? checkKey(key) : `${prefix}/${checkKey(key)}`
  }

  async #once({ method, key, query = {}, body, maxBytes }: S3Request): Promise<OutboundResponse> {
    const { AwsV4Signer } = await import('aws4fetch')
    const { access, outbound } = this.#options
    const url = new URL(key === undefined ? `${this.#base}/` : `${this.#base}/${this.whole(key)}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    const signed = await new AwsV4Signer({
      method,
      url: url.href,
      // The store compares it with what it got.
      headers: { 'x-amz-content-sha256': digest(body) },
      ...(body ? { body: new Uint8Array(body) } : {}),
      accessKeyId: access.access_key_id,
      secretAccessKey: access.secret_access_key,
      service: 's3',
      region: this.#region,
    }).sign()
    return await outbound.fetch(signed.url.href, {
      method,
      headers: Object.fromEntries(signed.headers),
      body: body ?? null,
      timeout: DAY,
      maxBytes: maxBytes ?? XML_LIMIT,
      redirects: 0,
      decode: false,
    })
  }

  async refused(answer: OutboundResponse): Promise<SovraError> {
    const text = await answer.text().catch(() => '')
    const reason = (element(text, 'Code') ?? `HTTP ${answer.status}`).slice(0, 100)
    return DENIED.has(answer.status) ? fail('store_denied', { place: this.place, reason }) : this.failed(reason)
  }

  /** What is worth another try is tried again: every request here may be repeated. Answers 2xx and 404. */
  async ask(request: S3Request): Promise<OutboundResponse> {
    for (let tried = 0; ; tried++) {
      const wait = TRIES[tried]
      try {
        const answer = await this.#once(request)
        if (answer.ok || answer.status === 404) return answer
        const error = await this.refused(answer)
        if (wait === undefined || (answer.status < 500 && answer.status !== 429)) throw error
      } catch (error) {
        if (isSovraError(error, 'store_failed') || isSovraError(error, 'store_denied')) throw error
        if (wait === undefined || isSovraError(error, 'outbound_forbidden')) throw this.failed(messageOf(error), error)
      }
      await pause(wait)
    }
  }

  /** The text of a 2xx, and its headers. */
  async done(request: S3Request): Promise<{ readonly text: string; readonly headers: Headers }> {
    const answer = await this.ask(request)
    if (!answer.ok) throw await this.refused(answer)
    return { text: await answer.text(), headers: answer.headers }
  }
}
