import type { Readable } from 'node:stream'
import { fail, isSovraError } from '../errors.ts'
import { element, type S3Options, S3Requests } from './s3-request.ts'
import type { ObjectStore, Stored } from './store.ts'

/** 10,000 parts are the limit of an object, and some providers want them of one size: 312 GiB. */
const PART = 32 << 20

type Next = (size: number) => Promise<Buffer>

/** Answers so many bytes at each call, fewer at the end. */
function pieces(source: Readable): Next {
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

/** Where the answer was lost, the next try finds no upload any more: it was completed if the object is there, whole. */
async function complete(requests: S3Requests, key: string, uploadId: string, body: Buffer, size: number): Promise<void> {
  try {
    const { text } = await requests.done({ method: 'POST', key, query: { uploadId }, body })
    // It may fail after 200 was said.
    if (text.includes('<Error>')) throw requests.failed(element(text, 'Code') ?? 'the upload was not completed')
  } catch (error) {
    if (!isSovraError(error) || error.params.reason !== 'NoSuchUpload') throw error
    const { text } = await requests.done({ method: 'GET', query: { 'list-type': '2', prefix: requests.whole(key) } })
    for (const found of contents(text)) if (found.key === requests.whole(key) && found.size === size) return
    throw error
  }
}

/** In parts: the object is there once all of them are. */
async function multipart(requests: S3Requests, key: string, first: Buffer, next: Next): Promise<number> {
  const begun = await requests.done({ method: 'POST', key, query: { uploads: '' } })
  const uploadId = element(begun.text, 'UploadId')
  if (!uploadId) throw requests.failed('it gave no UploadId')
  try {
    const tags: string[] = []
    let size = 0
    for (let part = first; part.length > 0; part = await next(PART)) {
      const query = { partNumber: String(tags.length + 1), uploadId }
      const { headers } = await requests.done({ method: 'PUT', key, query, body: part })
      tags.push(headers.get('etag') ?? '')
      size += part.length
    }
    const listed = tags.map((tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`).join('')
    const body = Buffer.from(`<CompleteMultipartUpload>${listed}</CompleteMultipartUpload>`)
    await complete(requests, key, uploadId, body, size)
    return size
  } catch (error) {
    await requests.ask({ method: 'DELETE', key, query: { uploadId } }).catch(() => {})
    throw error
  }
}

function* contents(xml: string): Generator<Stored> {
  for (const [, inner = ''] of xml.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
    yield { key: element(inner, 'Key') ?? '', size: Number(element(inner, 'Size') ?? 0) }
  }
}

async function* list(requests: S3Requests, prefix: string, start: string, after: string | undefined): AsyncGenerator<Stored> {
  const cut = prefix === '' ? 0 : prefix.length + 1
  let token: string | undefined
  do {
    const query: Record<string, string> = { 'list-type': '2', prefix: prefix === '' ? start : `${prefix}/${start}` }
    if (token !== undefined) query['continuation-token'] = token
    else if (after !== undefined) query['start-after'] = requests.whole(after)
    const { text } = await requests.done({ method: 'GET', query })
    for (const { key, size } of contents(text)) {
      // Not every provider knows start-after.
      if (after === undefined || key.slice(cut) > after) yield { key: key.slice(cut), size }
    }
    token = element(text, 'IsTruncated') === 'true' ? element(text, 'NextContinuationToken') : undefined
  } while (token !== undefined)
}

/** Objects in a bucket of S3 or what speaks its protocol. `store_failed`, `store_denied`. */
export function s3Store(options: S3Options): ObjectStore {
  const requests = new S3Requests(options)
  const { place } = requests
  return {
    place,
    async put(key, body) {
      await requests.done({ method: 'PUT', key, body })
    },
    async putStream(key, source) {
      try {
        const next = pieces(source)
        const first = await next(PART)
        if (first.length === PART) return await multipart(requests, key, first, next)
        await requests.done({ method: 'PUT', key, body: first })
        return first.length
      } finally {
        source.destroy()
      }
    },
    async get(key) {
      const answer = await requests.ask({ method: 'GET', key, maxBytes: Number.MAX_SAFE_INTEGER })
      if (answer.ok) return answer.body
      const error = await requests.refused(answer)
      // The bucket itself is not there: nothing is, wherever one looks.
      throw error.params.reason === 'NoSuchBucket' ? error : fail('object_missing', { place, key })
    },
    list: (prefix, after) => list(requests, options.prefix, prefix, after),
    async remove(key) {
      await (await requests.ask({ method: 'DELETE', key })).text()
    },
  }
}
