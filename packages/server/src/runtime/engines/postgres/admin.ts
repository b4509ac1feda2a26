import type pg from 'pg'
import { fail } from '../../../base/errors.ts'
import { nodePg } from '../../../base/later.ts'
import type { Endpoint } from '../../driver.ts'
import { adminConnection } from './connections.ts'

/** Not connected yet. */
export function newClient(at: Endpoint, password: string): pg.Client {
  const client = new (nodePg().Client)(adminConnection(at, password))
  client.on('error', () => undefined)
  return client
}

export interface Admin {
  /** Runs `fn` on the connection, one caller at a time; an open transaction at its end is rolled back. */
  run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R>
  close(): Promise<void>
}

/**
 * A further connection of our superuser, opened when wanted and closed after `idle` ms without work: what its backend has cached is memory. `first`: one that
 * is open already.
 */
export function makeAdmin(at: Endpoint, password: string, idle: number, first: pg.Client | null = null): Admin {
  let open = first
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
  const keep = (client: pg.Client) => {
    open = client
    client.once('end', () => {
      if (open === client) open = null
    })
  }
  const rest = () => {
    timer = setTimeout(() => void close(), idle).unref()
  }
  if (first) {
    keep(first)
    rest()
  }
  async function connect(): Promise<pg.Client> {
    if (closed) throw fail('connection_lost', { reason: 'the cluster goes to sleep' })
    if (open) return open
    const client = newClient(at, password)
    await client.connect()
    keep(client)
    return client
  }
  async function run<R>(fn: (client: pg.Client) => Promise<R>): Promise<R> {
    if (timer) clearTimeout(timer)
    const client = await connect()
    try {
      return await fn(client)
    } finally {
      await client.query('rollback').catch(() => close())
      rest()
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
