/**
 * The data API: kinds of requests beside pgbench with the very SQL that is made of them and beside PocketBase; planning; a large catalogue; a large
 * answer. `--rounds 5 --seconds 2 --no-peer --only requests,catalogue,large`
 */
import { parseArgs } from 'node:util'
import { compareOn } from './lib/compare.ts'
import { ownerOf, ROWS, SCHEMA, USERS } from './lib/data.ts'
import { closing } from './lib/figures.ts'
import { type Collection, startPocketBase } from './lib/pocketbase.ts'
import { boardRows, REST_CASES, REST_SCHEMA } from './lib/rest-cases.ts'
import { catalogueCosts } from './lib/rest-catalogue.ts'
import { largeAnswer } from './lib/rest-large.ts'
import { planCosts } from './lib/rest-plan.ts'
import { type BenchServer, startBench, withCleanup } from './lib/server.ts'

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', default: 'requests,catalogue,large' },
    'no-peer': { type: 'boolean', default: false },
  },
})
const parts = flags.only.split(',')
const { boards, cards, notes } = boardRows()
const idOf = (row: number) => `row${String(row).padStart(12, '0')}`
const COLLECTIONS: readonly Collection[] = [
  { name: 'boards', fields: { name: 'text' }, rows: boards.map(({ id, user }) => ({ id, user, values: { name: `Board ${id}` } })) },
  {
    name: 'cards',
    fields: { board: { to: 'boards' }, title: 'text' },
    rows: cards.map(({ id, on, user }) => ({ id, user, values: { board: idOf(on), title: `Card ${id}` } })),
  },
  {
    name: 'notes',
    fields: { card: { to: 'cards' }, body: 'text' },
    rows: notes.map(({ id, on, user }) => ({ id, user, values: { card: idOf(on), body: `Note ${id}` } })),
  },
  { name: 'entries', fields: { title: 'text', done: 'bool' }, rows: [] },
]

async function requests(server: BenchServer): Promise<void> {
  const project = await server.project('data', { db: { engine: 'postgres', connections: 80, disk: 8192 } })
  const { client } = await ownerOf(server, project)
  await client.query(SCHEMA)
  await client.query(REST_SCHEMA)
  for (const table of ['todos', 'boards', 'cards', 'notes']) await client.query(`vacuum analyze public.${table}`)
  await client.end()
  const peer = flags['no-peer'] ? null : await startPocketBase(USERS, ROWS, COLLECTIONS)
  try {
    const spent = new Map<string, number>()
    const how = { rounds: Number(flags.rounds), seconds: Number(flags.seconds) }
    for (const one of REST_CASES) spent.set(one.name, await compareOn({ server, project, peer }, one, how))
    await planCosts(server, project, REST_CASES, spent)
  } finally {
    peer?.stop()
  }
}

await withCleanup(async (later) => {
  const server = await startBench({ SOVRABASE_SLEEP_AFTER: 'off' })
  later(() => server.stop())
  if (parts.includes('requests')) await requests(server)
  if (parts.includes('catalogue')) await catalogueCosts(server)
  if (parts.includes('large')) await largeAnswer(server)
  closing()
})
