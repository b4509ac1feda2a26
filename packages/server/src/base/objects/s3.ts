import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { fail, isSovraError } from '../errors.ts'
import type { Outbound, OutboundResponse } from '../outbound.ts'
import { checkKey, type ObjectStore, type Stored } from './store.ts'

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

interface Asked {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** Bytes of the answer at most. */
  readonly maxBytes?: number
}

const DAY = 86_400_000
const REGION = 'us-east-1'
/** 10,000 parts are the limit of an object, and some providers want them of one size: 312 GiB. */
const PART = 32 << 20
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
const element = (xml: string, name: string): string | undefined => {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return found === undefined ? undefined : plain(found)
}

/** Objects in a bucket of S3 or what speaks its protocol. `store_failed`. */
export function s3Store({ bucket, prefix, access, outbound }: S3Options): ObjectStore {
  const place = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`
  const region = access.region ?? REGION
  // A provider of one's own rarely has a name for each bucket.
  const base = access.endpoint ? `${access.endpoint.replace(/\/+$/, '')}/${bucket}` : `https://${bucket}.s3.${region}.amazonaws.com`
  const whole = (key: string) => (prefix === '' ? checkKey(key) : `${prefix}/${checkKey(key)}`)
  const failed = (reason: string, cause?: unknown) => fail('store_failed', { place, reason, uid: '' }, { cause })

  async function once({ method, key, query = {}, body, maxBytes }: Asked): Promise<OutboundResponse> {
    const { AwsV4Signer } = await import('aws4fetch')
    const url = new URL(key === undefined ? `${base}/` : `${base}/${whole(key)}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    const content = createHash('sha256')
      .update(body ?? '')
      .digest('hex')
    const signed = await new AwsV4Signer({
      method,
      url: url.href,
      headers: { 'x-amz-content-sha256': content },
      ...(body ? { body: new Uint8Array(body) } : {}),
      accessKeyId: access.access_key_id,
      secretAccessKey: access.secret_access_key,
      service: 's3',
      region,
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

  async function refused(answer: OutboundResponse): Promise<Error> {
    const text = await answer.text().catch(() => '')
    const code = element(text, 'Code') ?? `HTTP ${answer.status}`
    return failed(code.slice(0, 100))
  }

  /** What is worth another try, is tried again: every request here may be repeated. */
  async function ask(asked: Asked): Promise<OutboundResponse> {
    for (let tried = 0; ; tried++) {
      const wait = TRIES[tried]
      try {
        const answer = await once(asked)
        if (answer.ok || answer.status === 404) return answer
        const error = await refused(answer)
        if (wait === undefined || (answer.status < 500 && answer.status !== 429)) throw error
      } catch (error) {
        if (isSovraError(error, 'store_failed')) throw error
        if (wait === undefined || isSovraError(error, 'outbound_forbidden')) throw failed(messageOf(error), error)
      }
      await pause(wait)
    }
  }

  async function done(asked: Asked): Promise<string> {
    const answer = await ask(asked)
    if (!answer.ok) throw await refused(answer)
    return await answer.text()
  }

  async function multipart(key: string, first: Buffer, next: (size: number) => Promise<Buffer>): Promise<number> {
    const uploadId = element(await done({ method: 'POST', key, query: { uploads: '' } }), 'UploadId')
    if (!uploadId) throw failed('it gave no UploadId')
    try {
      const tags: string[] = []
      let size = 0
      for (let part = first; part.length > 0; part = await next(PART)) {
        const query = { partNumber: String(tags.length + 1), uploadId }
        const answer = await ask({ method: 'PUT', key, query, body: part })
        if (!answer.ok) throw await refused(answer)
        await answer.text()
        tags.push(answer.headers.get('etag') ?? '')
        size += part.length
      }
      const listed = tags.map((tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`).join('')
      const body = Buffer.from(`<CompleteMultipartUpload>${listed}</CompleteMultipartUpload>`)
      const text = await done({ method: 'POST', key, query: { uploadId }, body })
      // It may fail after 200 was said.
      if (text.includes('<Error>')) throw failed(element(text, 'Code') ?? 'the upload was not completed')
      return size
    } catch (error) {
      await ask({ method: 'DELETE', key, query: { uploadId } }).catch(() => {})
      throw error
    }
  }

  return {
    place,
    async put(key, body) {
      await done({ method: 'PUT', key, body })
    },
    async putStream(key, source) {
      try {
        const next = pieces(source)
        const first = await next(PART)
        if (first.length === PART) return await multipart(key, first, next)
        await done({ method: 'PUT', key, body: first })
        return first.length
      } finally {
        source.destroy()
      }
    },
    async get(key) {
      const answer = await ask({ method: 'GET', key, maxBytes: Number.MAX_SAFE_INTEGER })
      if (answer.ok) return answer.body
      answer.body.on('error', () => {}).destroy()
      throw fail('object_missing', { place, key })
    },
    async *list(start, after) {
      let token: string | undefined
      const cut = prefix === '' ? 0 : prefix.length + 1
      do {
        const query: Record<string, string> = { 'list-type': '2', prefix: prefix === '' ? start : `${prefix}/${start}` }
        if (token !== undefined) query['continuation-token'] = token
        else if (after !== undefined) query['start-after'] = whole(after)
        const xml = await done({ method: 'GET', query })
        for (const { key, size } of contents(xml)) {
          // Not every provider knows start-after.
          if (after === undefined || key.slice(cut) > after) yield { key: key.slice(cut), size }
        }
        token = element(xml, 'IsTruncated') === 'true' ? element(xml, 'NextContinuationToken') : undefined
      } while (token !== undefined)
    },
    async remove(key) {
      await (await ask({ method: 'DELETE', key })).text()
    },
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/\.$/, '') : 'unknown')

function* contents(xml: string): Generator<Stored> {
  for (const [, inner = ''] of xml.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
    yield { key: element(inner, 'Key') ?? '', size: Number(element(inner, 'Size') ?? 0) }
  }
}

/** Answers so many bytes at each call, fewer at the end. */
function pieces(source: Readable): (size: number) => Promise<Buffer> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let rest: Buffer = Buffer.alloc(0)
  return async (size) => {
    const got: Buffer[] = []
    let length = 0
    while (length < size) {
      if (rest.length === 0) {
        const { done, value } = await chunks.next()
        if (done) break
        rest = value
      }
      const part = rest.subarray(0, size - length)
      rest = rest.subarray(part.length)
      got.push(part)
      length += part.length
    }
    return Buffer.concat(got, length)
  }
}
