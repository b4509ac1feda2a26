import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { fail } from '../../../base/errors.ts'

/** Where the bytes of a volume pass between the server and whoever has the rights: a socket for one connection. */
export interface Pipe {
  readonly id: string
  readonly path: string
}

const PATIENCE = 30_000

/** Sockets in the runtime directory, each for one connection of the server's uid. */
export class Pipes {
  readonly #dir: string
  readonly #server: number | null
  readonly #open = new Map<string, Promise<Socket>>()

  /** `server`: its uid where that is another one. */
  constructor(runtime: string, server: number | null) {
    this.#dir = join(runtime, 's')
    this.#server = server
  }

  async open(): Promise<Pipe> {
    const id = randomBytes(6).toString('hex')
    const path = join(this.#dir, `p${id}`)
    // Not read here: whoever takes it, a program perhaps, gets all of it.
    const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true })
    const connection = new Promise<Socket>((resolve, reject) => {
      const late = setTimeout(() => {
        listener.close()
        this.#open.delete(id)
        reject(fail('order_refused', { reason: 'nobody came to the pipe' }))
      }, PATIENCE)
      listener.once('connection', (socket) => {
        clearTimeout(late)
        listener.close()
        resolve(socket)
      })
    })
    connection.catch(() => {})
    this.#open.set(id, connection)
    await new Promise<void>((resolve, reject) => listener.once('error', reject).listen(path, resolve))
    chmodSync(path, 0o600)
    if (this.#server !== null) chownSync(path, this.#server, this.#server)
    return { id, path }
  }

  /** The connection, once. */
  async take(id: unknown): Promise<Socket> {
    const connection = typeof id === 'string' ? this.#open.get(id) : undefined
    if (!connection) throw fail('order_refused', { reason: 'no such pipe' })
    this.#open.delete(id as string)
    return await connection
  }
}
