import { createHmac } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import { fail } from '../errors.ts'
import { later } from '../later.ts'

/** What a backup is sealed with: a passphrase, or public keys (`age1…`). */
export interface SealWith {
  readonly passphrase?: string
  readonly recipients?: readonly string[]
}

/** What opens it: the passphrase, or private keys (`AGE-SECRET-KEY-1…`). */
export interface OpenWith {
  readonly passphrase?: string
  readonly identities?: readonly string[]
}

const age = () => later<typeof import('age-encryption')>('age-encryption')
const why = (error: unknown): string => (error instanceof Error ? error.message : 'unknown')

/** age (age-encryption.org/v1). `backup_key_malformed`. */
export async function seal(text: string, { passphrase, recipients = [] }: SealWith): Promise<Buffer> {
  if (passphrase === undefined && recipients.length === 0) throw fail('backup_unsealed')
  const encrypter = new (age().Encrypter)()
  try {
    if (passphrase !== undefined) encrypter.setPassphrase(passphrase)
    for (const recipient of recipients) encrypter.addRecipient(recipient)
    return Buffer.from(await encrypter.encrypt(text))
  } catch (cause) {
    throw fail('backup_key_malformed', { reason: why(cause) }, { cause })
  }
}

/** `backup_locked`. */
export async function unseal(sealed: Uint8Array, { passphrase, identities = [] }: OpenWith): Promise<string> {
  const decrypter = new (age().Decrypter)()
  try {
    if (passphrase !== undefined) decrypter.addPassphrase(passphrase)
    for (const identity of identities) decrypter.addIdentity(identity)
    return await decrypter.decrypt(sealed, 'text')
  } catch (cause) {
    throw fail('backup_locked', { reason: why(cause) }, { cause })
  }
}

/** As `seal`, in a thread of its own: a passphrase is stretched for a second. */
export function sealInThread(text: string, workerData: SealWith): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./seal-thread.ts', import.meta.url), { workerData: { ...workerData, text } })
    worker.once('message', ({ sealed, reason }: { sealed?: Uint8Array; reason?: string }) =>
      sealed ? resolve(Buffer.from(sealed)) : reject(fail('backup_key_malformed', { reason: reason ?? 'unknown' })),
    )
    worker.once('error', (cause) => reject(fail('internal', {}, { cause })))
  })
}

/** The key of one backup: everything secret in it is sealed to this, so that a passphrase is stretched once. */
export async function newIdentity(): Promise<{ readonly identity: string; readonly recipient: string }> {
  const identity = await age().generateX25519Identity()
  return { identity, recipient: await age().identityToRecipient(identity) }
}

/** Tells a manifest that its maker wrote from one that was made to fit changed contents. */
export const macOf = (identity: string, manifest: Buffer): string => createHmac('sha256', identity).update(manifest).digest('hex')
