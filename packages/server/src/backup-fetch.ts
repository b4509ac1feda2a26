import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fail } from './base/errors.ts'
import { removeOnInterrupt } from './base/interrupted.ts'
import { makeStoreOutbounds } from './base/objects/outbound.ts'
import { placeOf } from './base/objects/place.ts'
import { s3Store } from './base/objects/s3.ts'
import type { S3Access } from './base/objects/s3-request.ts'

const PRIVATE = 0o600

/** Where the command takes its own credentials from: the names that other S3 tools know. */
export function accessOf(place: string, env: NodeJS.ProcessEnv): S3Access {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = env
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY) throw fail('store_keys_missing', { place })
  const endpoint = AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL
  return {
    access_key_id: AWS_ACCESS_KEY_ID,
    secret_access_key: AWS_SECRET_ACCESS_KEY,
    ...(endpoint ? { endpoint } : {}),
    ...(AWS_REGION ? { region: AWS_REGION } : {}),
  }
}

/** A backup in a bucket as a file of this machine, for as long as it is needed: reading it takes more than one pass. */
export async function fetchBackup(url: string, env: NodeJS.ProcessEnv = process.env): Promise<{ file: string; done: () => Promise<void> }> {
  const place = placeOf(url)
  if (place.kind !== 's3') throw fail('store_place_invalid', { place: url })
  const parts = place.prefix.split('/')
  const key = parts.pop() ?? ''
  const outbounds = makeStoreOutbounds({ allow: [], caFile: env.NODE_EXTRA_CA_CERTS ?? null, proxy: env.HTTPS_PROXY ?? null })
  const dir = await mkdtemp(join(tmpdir(), 'sovra-restore-'))
  const interrupted = removeOnInterrupt(dir)
  const done = async () => {
    interrupted.end()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const store = s3Store({ bucket: place.bucket, prefix: parts.join('/'), access: accessOf(url, env), outbound: outbounds.trusted })
    const file = join(dir, key)
    await pipeline(await store.get(key), createWriteStream(file, { mode: PRIVATE }))
    return { file, done }
  } catch (error) {
    await done()
    throw error
  } finally {
    await Promise.all([outbounds.outbound.close(), outbounds.trusted.close()])
  }
}
