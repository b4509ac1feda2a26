/** The clients of PostgREST, unmodified, method by method; docs/compatibility.md is what came of it (`npm run compatibility` writes it). */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { after, before, test } from 'node:test'
import * as postgrest from '@supabase/postgrest-js'
import { startRest, type TestRest } from '../../packages/server/src/apis/rest/rest.testing.ts'
import { python, pythonWith } from '../python.ts'
import { CASES, type Case } from './cases.ts'
import { type Client, type Outcome, pageOf } from './page.ts'

const PAGE = resolve(import.meta.dirname, '../../docs/compatibility.md')
const clients: Client[] = []
let rest: TestRest
let url: string

before(async () => {
  rest = await startRest()
  rest.settings = { schemas: ['public', 'other'], aggregates: true, plan_enabled: true, tx_end: 'commit-allow-override' }
  await rest.admin.query('grant usage on schema other to service_role')
  url = await rest.app.listen({ host: '127.0.0.1', port: 0 })
})
after(() => rest?.stop())

/** The statement as a reader would write it. */
const shownOf = (run: Case['run']): string =>
  String(run)
    .replace(/^\(?c\)?\s*=>\s*/, '')
    .replaceAll(/\s*\n\s*/g, '')
    .replaceAll(/ as (?:never|unknown as \{[^}]*\}|unknown)/g, '')
    .trim()

async function outcomeOf(client: postgrest.PostgrestClient, { method, run, answers, needs = '' }: Case): Promise<Outcome> {
  const shown = shownOf(run)
  try {
    const answer = await run(client)
    assert.partialDeepStrictEqual(answer, answers)
    return { method, shown, failure: '', needs }
  } catch (error) {
    return { method, shown, failure: String(error instanceof Error ? error.message : error).slice(0, 300), needs }
  }
}

test('postgrest-js: every method has a case, and answers as it must', async () => {
  const own = [
    postgrest.PostgrestClient,
    postgrest.PostgrestQueryBuilder,
    postgrest.PostgrestFilterBuilder,
    postgrest.PostgrestTransformBuilder,
    postgrest.PostgrestBuilder,
  ]
  const inner = ['constructor', 'decorateFetch', 'cloneRequestState', 'processResponse', 'then']
  const methods = new Set(own.flatMap((one) => Object.getOwnPropertyNames(one.prototype)).filter((name) => !inner.includes(name)))
  const tried = new Set(CASES.map(({ method }) => method.replace(/ .*/, '')))
  assert.deepEqual(methods.difference(tried), new Set())
  const client = new postgrest.PostgrestClient(url, { headers: { 'x-role': 'service_role' } })
  const outcomes: Outcome[] = []
  for (const one of CASES) outcomes.push(await outcomeOf(client, one))
  const { version } = createRequire(import.meta.url)('@supabase/postgrest-js/package.json') as { version: string }
  clients.push({ name: 'postgrest-js (supabase-js)', version, outcomes })
  assert.deepEqual(
    outcomes.filter(({ failure }) => failure !== ''),
    [],
  )
})

const PYTHON = '2.34.1'

test('postgrest-py: every method has a case, and answers as it must', async () => {
  const packages = await pythonWith(`postgrest==${PYTHON}`)
  const program = resolve(import.meta.dirname, 'cases.py')
  const text = await python(packages, `__file__ = ${JSON.stringify(program)}; exec(compile(open(__file__).read(), __file__, 'exec'))`, {
    REST_URL: url,
  })
  const { outcomes, untried } = JSON.parse(text) as { outcomes: Outcome[]; untried: string[] }
  assert.deepEqual(untried, [])
  clients.push({ name: 'postgrest-py (supabase-py)', version: PYTHON, outcomes })
  assert.deepEqual(
    outcomes.filter(({ failure }) => failure !== ''),
    [],
  )
})

test('docs/compatibility.md says what the runs said', () => {
  const page = pageOf(clients)
  if (process.env.WRITE_COMPATIBILITY === 'yes') writeFileSync(PAGE, page)
  assert.equal(readFileSync(PAGE, 'utf8'), page, 'npm run compatibility')
})
