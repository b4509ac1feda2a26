/** The catalogue of a large schema: its reading beside the bare query, and what it holds. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { readCatalogue } from '@sovrabase/server/runtime/engines/postgres/catalogue/read'
import type { Catalogue } from '@sovrabase/server/runtime/engines/postgres/catalogue/types'
import { ownerOf } from './data.ts'
import { bar, median, ms } from './figures.ts'
import type { BenchServer } from './server.ts'

const TABLES = 2_000
const ROUNDS = 7
const QUERY = readFileSync(
  createRequire(import.meta.url)
    .resolve('@sovrabase/server/runtime/engines/postgres/catalogue/read')
    .replace(/read\.ts$/, 'query.sql'),
  'utf8',
)
/** Of five columns each: 10,000. Every second one refers to the one before it. */
const table = (i: number): string =>
  `create table public.t${i} (id int primary key, name text not null, made timestamptz default now(), other int${i % 2 === 0 ? '' : ` references public.t${i - 1}`}, note text)`

const tablesOf = ({ schemas }: Catalogue): number => schemas.get('public')?.tables.size ?? 0

export async function catalogueCosts(server: BenchServer): Promise<void> {
  const project = await server.project('catalogue')
  const { client } = await ownerOf(server, project)
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < TABLES; i += 100) await client.query(Array.from({ length: 100 }, (_, n) => table(i + n)).join(';'))
  await client.query(`select set_config('search_path', 'pg_catalog', false)`)
  const heap = (): number => {
    collect()
    return process.memoryUsage().heapUsed / 1_048_576
  }
  const ours: number[] = []
  const bare: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    let begun = performance.now()
    await client.query({ text: QUERY, rowMode: 'array' })
    const query = performance.now() - begun
    begun = performance.now()
    await readCatalogue(client)
    const whole = performance.now() - begun
    if (round < 0) continue
    bare.push(query)
    ours.push(whole)
  }
  const kept = await readCatalogue(client)
  const first = heap()
  // The client keeps the text of its last answer: two of them are compared, of which each leaves one.
  const more = await readCatalogue(client)
  const held = heap() - first
  await client.end()
  console.log(`catalogue of ${Math.min(tablesOf(kept), tablesOf(more))} tables: ${ms(median(ours))}, the bare query ${ms(median(bare))}`)
  bar('catalogue by the bare query', median(ours.map((took, i) => took / bare[i]!)), 1.5)
  bar('memory of the catalogue', held, 30, 'MiB')
}
