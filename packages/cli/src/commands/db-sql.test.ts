import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { QueryAnswer } from '@sovrabase/contract/database'
import { startServer, type TestServer } from '../../../../test/node.ts'
import { createProject } from '../../../../test/project.ts'
import { type Cli, makeCli } from '../cli.testing.ts'

let server: TestServer
let cli: Cli

before(async () => {
  server = await startServer()
  cli = makeCli(() => server.dataDir)
  await createProject(server, 'shop')
})
after(async () => {
  await server?.stop()
  cli?.remove()
})

test('db sql: a table, JSON, lines, plans and errors', async () => {
  const shown = await cli.run(['db', 'sql', 'shop', 'select $1::int + 1 as next, $2 as word', '--param', '41', '--param', 'x'])
  assert.equal(shown.out, 'next  word\n  42  x\n(1 row)\n', shown.err)
  const answer = await cli.answer<QueryAnswer>(['db', 'sql', 'shop', 'select 1 as one', '--read-only'])
  assert.deepEqual(answer.results[0]?.columns, [{ name: 'one', type: 'integer' }])
  const lines = await cli.run(['db', 'sql', 'shop', 'select generate_series(1, 3)', '--lines', '--limit', '0'])
  assert.deepEqual(
    lines.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).type),
    ['columns', 'rows', 'done', 'end'],
  )
  assert.equal((await cli.run(['db', 'sql', 'shop', 'select 1/0', '--lines'])).code, 1)
  assert.match((await cli.run(['db', 'sql', 'shop', 'select 1', '--explain'])).out, /^Result {2}\(cost/)
  const wrong = await cli.run(['db', 'sql', 'shop', 'select nix'])
  assert.equal(wrong.code, 1)
  assert.match(wrong.err, /column "nix" does not exist \(SQLSTATE 42703\)/)
  assert.match(wrong.err, /\nLINE 1: select nix\n {15}\^\n/)
})
