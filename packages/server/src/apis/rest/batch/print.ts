import type { Answer } from '../reply.ts'
import type { Referable } from './references.ts'

/** The answer to one request of a batch. */
export interface Made extends Referable {
  readonly status: number
  readonly headers: Answer['headers']
  /** As it stands in the answer of the batch: JSON. */
  readonly body: Buffer
  readonly encoding: 'base64' | null
}

const NULL = Buffer.from('null')
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\b/

export function resultOf({ status, headers, body }: Answer, head: boolean): Made {
  if (head || body === null) return { status, headers, body: NULL, json: null, encoding: null }
  if (JSON_TYPE.test(String(headers['content-type'] ?? ''))) return { status, headers, body, json: body, encoding: null }
  const text = body.toString('utf8')
  const encoding = Buffer.from(text).equals(body) ? null : 'base64'
  return { status, headers, body: Buffer.from(JSON.stringify(encoding === null ? text : body.toString('base64'))), json: null, encoding }
}

/** The list of results; bodies are put in as PostgreSQL printed them. */
export function printed(made: readonly Made[]): Buffer {
  const pieces: Buffer[] = []
  for (const [at, { status, headers, body, encoding }] of made.entries()) {
    const kept = encoding === null ? '' : `"encoding":"${encoding}",`
    pieces.push(
      Buffer.from(`${at === 0 ? '[' : ','}{"status":${status},"headers":${JSON.stringify(headers)},${kept}"body":`),
      body,
      Buffer.from('}'),
    )
  }
  pieces.push(Buffer.from(']'))
  return Buffer.concat(pieces)
}
