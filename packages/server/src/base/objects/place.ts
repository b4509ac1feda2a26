import { isAbsolute } from 'node:path'
import { fail } from '../errors.ts'

export type Place =
  | { readonly kind: 'directory'; readonly dir: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string }

const S3 = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([a-zA-Z0-9][a-zA-Z0-9._-]*(?:\/[a-zA-Z0-9][a-zA-Z0-9._-]*)*))?\/?$/

export const isS3 = (text: string): boolean => text.startsWith('s3://')

/** `/mnt/backups` or `s3://bucket/prefix`; `store_place_invalid`. */
export function placeOf(text: string): Place {
  const [, bucket, prefix = ''] = S3.exec(text) ?? []
  if (bucket !== undefined) return { kind: 's3', bucket, prefix }
  if (isS3(text) || !isAbsolute(text)) throw fail('store_place_invalid', { place: text })
  return { kind: 'directory', dir: text }
}
