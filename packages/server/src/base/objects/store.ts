import type { Readable } from 'node:stream'
import { fail } from '../errors.ts'

export interface Stored {
  readonly key: string
  readonly size: number
}

/** Where backups and archives lie: a directory or an S3 bucket. Keys are relative: `a/b/c`, of `[a-zA-Z0-9._-]`. */
export interface ObjectStore {
  /** As people wrote it: for messages. */
  readonly place: string
  /** The object is there as a whole, and on disk, when it resolves; before that it is as it was. */
  put(key: string, body: Buffer): Promise<void>
  /** The same for one of unknown size; answers its bytes. */
  putStream(key: string, source: Readable): Promise<number>
  /** `object_missing`. */
  get(key: string): Promise<Readable>
  /** In the order of the keys. */
  list(prefix: string, after?: string): AsyncIterable<Stored>
  /** Idempotent. */
  remove(key: string): Promise<void>
}

const KEY = /^[a-zA-Z0-9][a-zA-Z0-9._-]*(\/[a-zA-Z0-9][a-zA-Z0-9._-]*)*$/

export function checkKey(key: string): string {
  if (!KEY.test(key) || key.length > 500) throw fail('internal', {}, { cause: `no key of an object: ${key}` })
  return key
}

export async function readObject(store: ObjectStore, key: string): Promise<Buffer> {
  return Buffer.concat(await (await store.get(key)).toArray())
}

/** A part of a store, as a store. */
export function within(store: ObjectStore, folder: string): ObjectStore {
  const inner = (key: string) => `${checkKey(folder)}/${key}`
  return {
    place: `${store.place}/${folder}`,
    put: (key, body) => store.put(inner(key), body),
    putStream: (key, source) => store.putStream(inner(key), source),
    get: (key) => store.get(inner(key)),
    async *list(prefix, after) {
      for await (const { key, size } of store.list(inner(prefix), after === undefined ? undefined : inner(after)))
        yield { key: key.slice(folder.length + 1), size }
    },
    remove: (key) => store.remove(inner(key)),
  }
}
