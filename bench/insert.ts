/** One row inserted with full fsync, through the whole gateway (PocketBase does not sync each commit). `--rounds 5 --seconds 2 --no-peer --profile DIR` */
import { compare } from './lib/compare.ts'

await compare({
  name: 'insert',
  method: 'POST',
  query: () => '',
  prefer: 'return=minimal',
  body: '{"title":"a new todo"}',
  pocketBase: (peer, user) => ({
    method: 'POST',
    path: '/api/collections/todos/records',
    body: JSON.stringify({ title: 'a new todo', owner: peer.userId(user) }),
  }),
  connections: [32],
  bars: { ceiling: 1.6, pocketBase: 0.4 },
})
