/** docs/search.md: its SQL is run as it stands, its requests are made with the unmodified client. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const TOOLS = process.env.SOVRA_TOOLS_DIR || join(ROOT, '.cache/tools')
const missing = !existsSync(join(TOOLS, 'pgvector-18/vector.so')) && process.env.CI !== 'true'
const skip = missing ? 'pgvector is not here: bash scripts/pgvector.sh' : false
const PAGE = readFileSync(join(ROOT, 'docs/search.md'), 'utf8')
const BLOCKS = [...PAGE.matchAll(/^```sql\n([\s\S]*?)^```/gm)].map(([, sql = '']) => sql)
const ADA = '0192f0c1-2b3c-7d4e-8f5a-000000000001'

let server: TestServer
let project: TestProject
let token: string

before(async () => {
  if (skip) return
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_API_PATH_FORM: 'true' } })
  project = await createProject(server, 'search')
  token = await project.token(ADA)
  await fill()
})
after(() => server?.stop())

const client = (more: Record<string, string> = {}): SupabaseClient =>
  createClient(`${server.url}/p/${project.ref}`, project.anon, {
    auth: { persistSession: false, autoRefreshToken: false },
    global: { headers: { Authorization: `Bearer ${token}`, ...more } },
  })
const titles = (data: unknown) => (data as { title: string }[] | null)?.map(({ title }) => title)
/** Points on a circle: nearer numbers, nearer meaning. */
const at = (degrees: number) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180), 0]

/** The page's SQL, block by block; four documents of hers, a thousand of others. */
async function fill(): Promise<void> {
  for (const sql of BLOCKS) await project.sql(sql)
  const rows = [
    { title: 'Fat cats eat fish', body: '', topic: 'food', embedding: at(0) },
    { title: 'Dogs eat everything', body: '', topic: 'food', embedding: at(20) },
    { title: 'A dictionary of cats', body: 'and dogs', topic: 'books', embedding: at(40) },
    { title: 'Ships', body: '', topic: 'books', embedding: at(90) },
  ]
  assert.equal((await client().from('documents').insert(rows)).error, null)
  await project.sql(
    `insert into public.documents (owner, title, topic, embedding)
     select gen_random_uuid(), 'another''s', 'food', format('[%s,%s,%s]', cos(i), sin(i), random())::extensions.vector from generate_series(1, 1000) i`,
  )
  await project.sql('analyze public.documents')
}

test('the page: each block of SQL, and rows as its owner', { skip }, async () => {
  assert.equal(BLOCKS.length, 7)
  const own = await client().from('documents').select('title').order('title')
  assert.deepEqual(titles(own.data), ['A dictionary of cats', 'Dogs eat everything', 'Fat cats eat fish', 'Ships'])
})

test('vectors: a function, its result filtered; an ordering by a computed column; both by the index', { skip }, async (t) => {
  const found = await client()
    .rpc('match_documents', { query: at(5), at_most: 0.5, in_topic: 'food' })
    .eq('topic', 'food')
    .select('title')
    .limit(5)
  assert.deepEqual([found.error, titles(found.data)], [null, ['Fat cats eat fish', 'Dogs eat everything']])
  const near = client({ 'x-embedding': JSON.stringify(at(85)) })
  const ordered = await near.from('documents').select('title, distance').order('distance').limit(2)
  assert.deepEqual([ordered.error, titles(ordered.data)], [null, ['Ships', 'A dictionary of cats']])
  assert.ok((ordered.data?.[0]?.distance as number) < 0.01)
  const within = await near.from('documents').select('title').lt('distance', 0.5).order('distance', { ascending: false })
  assert.deepEqual(titles(within.data), ['A dictionary of cats', 'Ships'])

  await project.sql(`alter role authenticator set pgrst.db_plan_enabled = 'true'`)
  await project.sql('alter table public.documents disable row level security')
  t.after(() => project.sql('alter table public.documents enable row level security'))
  const plan = await near.from('documents').select('title, distance').order('distance').limit(2).explain()
  assert.match(String(plan.data), /Index Scan using documents_embedding_idx/, JSON.stringify(plan))
  const byFunction = await client()
    .rpc('match_documents', { query: at(5) })
    .select('title')
    .limit(2)
    .explain()
  assert.match(String(byFunction.data), /documents_embedding_idx/, JSON.stringify(byFunction))
})

test('words, likeness, and both together', { skip }, async () => {
  const all = await client().from('documents').select('title').textSearch('words', 'cats & dogs', { config: 'english' })
  assert.deepEqual(titles(all.data), ['A dictionary of cats'])
  const web = await client()
    .from('documents')
    .select('title')
    .textSearch('words', '"fat cat" -dog', { type: 'websearch', config: 'english' })
  assert.deepEqual(titles(web.data), ['Fat cats eat fish'])
  const ranked = await client().rpc('search_documents', { words: 'dogs' }).select('title')
  assert.deepEqual(titles(ranked.data), ['Dogs eat everything', 'A dictionary of cats'])
  const likely = await client().from('documents').select('title').ilike('title', '%ctionar%')
  assert.deepEqual(titles(likely.data), ['A dictionary of cats'])
  const both = await client()
    .rpc('find_documents', { words: 'eat', query: at(25) })
    .select('title')
    .limit(2)
  assert.deepEqual(titles(both.data), ['Dogs eat everything', 'Fat cats eat fish'])
})
