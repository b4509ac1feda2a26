import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { fail } from './errors.ts'
import type { Log } from './log.ts'

export interface TlsFiles {
  readonly cert_file: string | null
  readonly key_file: string | null
}

/** A certificate (with its chain) and its key, PEM. */
export interface TlsPair {
  readonly cert: string
  readonly key: string
}

/** ms between two looks at the files. */
const LOOK = 10_000

/** What the files hold; null: none are configured. Throws `tls_unreadable`. */
export function readTls({ cert_file, key_file }: TlsFiles): TlsPair | null {
  if (cert_file === null || key_file === null) return null
  try {
    return { cert: readFileSync(cert_file, 'utf8'), key: readFileSync(key_file, 'utf8') }
  } catch (cause) {
    throw fail('tls_unreadable', { file: cert_file, key: key_file }, { cause })
  }
}

/**
 * Hands a renewed pair over, so that a renewal needs no restart. Certificate and key are rarely written at once: a pair that does not belong
 * together is waited out, and what was in use stays. Answers a function that ends the watch.
 */
export function watchTls(files: TlsFiles, use: (pair: TlsPair) => void, log: Log, look = LOOK): () => void {
  if (files.cert_file === null) return () => {}
  const read = (): string => {
    try {
      return JSON.stringify(readTls(files))
    } catch {
      return ''
    }
  }
  let seen = read()
  const timer = setInterval(() => {
    const now = read()
    if (now === seen) return
    seen = now
    try {
      const pair = readTls(files)
      if (!pair) return
      createSecureContext(pair)
      use(pair)
      log.info({ file: files.cert_file }, 'the certificate was renewed')
    } catch (error) {
      log.warn({ err: error, file: files.cert_file }, 'the TLS files changed, but cannot be used: the former certificate stays')
    }
  }, look)
  timer.unref()
  return () => clearInterval(timer)
}
