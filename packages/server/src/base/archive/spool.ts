import { Readable } from 'node:stream'
import { Worker } from 'node:worker_threads'
import type { ErrorCode } from '@sovrabase/contract/errors'
import { fail, SovraError } from '../errors.ts'
import type { Tar, TarApart } from './tar-apart.ts'
import { type Spooled, spool } from './write.ts'

export type SpoolOrder = { readonly id: number } & (
  | (Pick<TarApart, 'module' | 'args'> & { readonly file: string })
  | { readonly stop: true }
)

export interface SpoolAnswer {
  readonly id: number
  readonly spooled?: Spooled
  /** One of ours, or what a program said. */
  readonly error?: { readonly code?: ErrorCode; readonly message: string; readonly hint: string }
}

function errorOf({ code, message, hint }: NonNullable<SpoolAnswer['error']>): Error {
  return code === undefined
    ? fail('parcel_failed', { reason: message.split('\n')[0] ?? '' }, { cause: message })
    : new SovraError(code, message, hint)
}

/**
 * Spools tars in one thread beside the event loop, which goes on serving. A thread has a small heap: what passes through it is collected in a
 * millisecond, in that of a server it takes a second for each twenty projects.
 */
export class Spooler {
  #worker: Worker | null = null
  readonly #open = new Map<number, PromiseWithResolvers<Spooled>>()
  #last = 0

  #start(): Worker {
    const worker = new Worker(new URL('./spool-thread.ts', import.meta.url))
    worker.on('message', ({ id, spooled, error }: SpoolAnswer) => {
      const one = this.#open.get(id)
      this.#open.delete(id)
      if (spooled) one?.resolve(spooled)
      else one?.reject(errorOf(error ?? { message: 'unknown', hint: '' }))
    })
    worker.on('error', (error) => this.#end(error as Error))
    worker.on('exit', () => this.#end(fail('parcel_failed', { reason: 'the thread that packs has ended' })))
    return worker
  }

  #end(error: Error): void {
    this.#worker = null
    for (const one of this.#open.values()) one.reject(error)
    this.#open.clear()
  }

  /** Compresses it into a new file. */
  async spool(tar: Tar, file: string): Promise<Spooled> {
    if (tar instanceof Readable) return await spool(tar, file)
    tar.whole.catch(() => {})
    this.#worker ??= this.#start()
    const worker = this.#worker
    const id = ++this.#last
    const answer = Promise.withResolvers<Spooled>()
    this.#open.set(id, answer)
    const { module, args } = tar
    worker.postMessage({ id, module, args, file } satisfies SpoolOrder)
    try {
      const [spooled] = await Promise.all([answer.promise, tar.whole])
      return spooled
    } catch (error) {
      worker.postMessage({ id, stop: true } satisfies SpoolOrder)
      await answer.promise.catch(() => {})
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#worker?.terminate()
  }
}
