/** One row by its key under row-level security, through the whole gateway; 1, 32 and 256 connections. `--rounds 5 --seconds 2 --no-peer --profile DIR` */
import { compare } from './lib/compare.ts'
import { rowOf } from './lib/data.ts'

await compare({
  name: 'read',
  method: 'GET',
  query: (user, n) => `select=id,title,done&id=eq.${rowOf(user, n)}`,
  pocketBase: (peer, user, n) => ({
    method: 'GET',
    path: `/api/collections/todos/records/${peer.rowId(rowOf(user, n))}?fields=id,title,done`,
  }),
  connections: [1, 32, 256],
  bars: { ceiling: 1.8, pocketBase: 0.4, wide: 1.15 },
})
