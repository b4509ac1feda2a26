/** Twenty rows of their owner, through the whole gateway. `--rounds 5 --seconds 2 --no-peer --profile DIR` */
import { compare } from './lib/compare.ts'
import { uuidOf } from './lib/data.ts'

await compare({
  name: 'list',
  method: 'GET',
  query: (user) => `select=id,title,done,inserted_at&owner=eq.${uuidOf(user)}&order=id&limit=20`,
  pocketBase: () => ({
    method: 'GET',
    path: '/api/collections/todos/records?perPage=20&skipTotal=1&sort=id&fields=id,title,done,created',
  }),
  connections: [32],
  bars: { ceiling: 1.5, pocketBase: 0.4 },
})
