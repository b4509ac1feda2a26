/** Who reads a statement's rows straight from a cluster and forgets them, as `psql` to nowhere: what PostgreSQL's own work costs its neighbours. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type pg from 'pg'
import { ownerOf } from './data.ts'
import type { BenchProject, BenchServer } from './server.ts'

export interface BareReader {
  /** Bytes that came until the end, or until `signal`. */
  read(sql: string, signal: AbortSignal): Promise<number>
  stop(): Promise<void>
}

/** Signs in by `pg`, then takes its socket: rows are counted, not parsed. */
export async function startBareReader(server: BenchServer, project: BenchProject): Promise<BareReader> {
  const { client } = await ownerOf(server, project)
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection
  client.on('error', () => undefined)
  stream.removeAllListeners('data')
  return {
    async read(sql, signal) {
      let bytes = 0
      const ended = new Promise<void>((resolve) => {
        const count = (chunk: Buffer) => {
          bytes += chunk.length
          if (!READY.equals(chunk.subarray(-READY.length))) return
          stream.off('data', count)
          resolve()
        }
        stream.on('data', count)
      })
      stream.write(query(sql))
      await Promise.race([ended, once(stream, 'close'), signal.aborted ? undefined : once(signal, 'abort')])
      return bytes
    },
    async stop() {
      stream.destroy()
      await (client as pg.Client).end().catch(() => undefined)
    },
  }
}

/** ReadyForQuery, no transaction. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

function query(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`)
  const head = Buffer.alloc(5)
  head.write('Q')
  head.writeInt32BE(text.length + 4, 1)
  return Buffer.concat([head, text])
}
