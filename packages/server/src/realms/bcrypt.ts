import { Worker } from 'node:worker_threads'
import { fail } from '../base/errors.ts'

/** bcrypt in a thread of its own: Node has none built in, and the JavaScript of it would hold up the event loop. */
interface Question {
  readonly resolve: (ok: boolean) => void
  readonly reject: (error: Error) => void
}

let worker: Worker | null = null
let count = 0
const open = new Map<number, Question>()

function start(): Worker {
  const made = new Worker(new URL('./bcrypt-thread.ts', import.meta.url))
  made.on('message', ({ id, ok }: { id: number; ok: boolean }) => {
    open.get(id)?.resolve(ok)
    settle(made, id)
  })
  made.on('error', (cause) => {
    if (worker === made) worker = null
    for (const [id, { reject }] of open) {
      reject(fail('internal', {}, { cause }))
      open.delete(id)
    }
  })
  // It ends with the process; only an open question keeps that alive.
  made.unref()
  return made
}

function settle(of: Worker, id: number): void {
  open.delete(id)
  if (open.size === 0) of.unref()
}

export function verifyBcrypt(password: string, stored: string): Promise<boolean> {
  worker ??= start()
  const to = worker
  const id = count++
  return new Promise((resolve, reject) => {
    open.set(id, { resolve, reject })
    to.ref()
    to.postMessage({ id, password, stored })
  })
}
