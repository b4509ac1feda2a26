import type { FastifyReply } from 'fastify'
import type { Gone } from '../../runtime/engines/postgres/wire/job.ts'

/** Aborted when the client goes away before its answer: what an AbortSignal does for one listener, without its cost for each request. */
export class ClientGone implements Gone {
  aborted: boolean
  #listener: (() => void) | null = null

  constructor(reply: FastifyReply) {
    this.aborted = reply.raw.destroyed
    // Also emitted after a whole answer, when there is nothing left to end.
    reply.raw.on('close', () => {
      if (reply.raw.writableFinished || this.aborted) return
      this.aborted = true
      this.#listener?.()
    })
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listener = listener
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    if (this.#listener === listener) this.#listener = null
  }
}
