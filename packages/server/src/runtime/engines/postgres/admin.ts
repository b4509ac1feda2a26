import pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Endpoint } from '../../driver.ts'
import { adminConnection } from './connections.ts'

export interface Admin {
  /** Runs `fn` on the connection, one caller at a time; an open transaction at its end is rolled back. */
  run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R>
  close(): Promise<void>
}

/** A further connection of our superuser, opened when wanted and closed after `idle` ms without work: what its backend has cached is memory. */
export function makeAdmin(at: Endpoint, password: string, idle: number): Admin {
  let open: pg.Client | null = null
  let timer: NodeJS.Timeout | null = null
  let queue: Promise<unknown> = Promise.resolve()
  let closed = false

  const close = async () => {
    const client = open
    open = null
    if (timer) clearTimeout(timer)
    timer = null
    await client?.end().catch(() => undefined)
  }
  async function connect(): Promise<pg.Client> {
    if (closed) throw fail('connection_lost', { reason: 'the cluster goes to sleep' })
    if (open) return open
    const client = new pg.Client(adminConnection(at, password))
    client.on('error', () => undefined)
    client.once('end', () => {
      if (open === client) open = null
    })
    await client.connect()
    open = client
    return client
  }
  async function run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
    if (timer) clearTimeout(timer)
    const client = await connect()
    try {
      return await fn(client)
    } finally {
      await client.query('rollback').catch(() => close())
      timer = setTimeout(() => void close(), idle)
      timer.unref()
    }
  }
  return {
    run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
      const result = queue.then(() => run(fn))
      queue = result.catch(() => undefined)
      return result
    },
    async close() {
      await queue
      closed = true
      await close()
    },
  }
}
