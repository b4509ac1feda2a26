import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { CliError } from '../terminal/errors.ts'
import { checkName, readServers, serversFile, withoutServer, withServer, writeServers } from './servers.ts'

const dir = mkdtempSync(join(tmpdir(), 'sovra-servers-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const server = { url: 'https://api.example.org', token: 'sovra_pat_x', token_id: null, email: 'a@example.org' }
const refused = (code: string) => (error: unknown) => error instanceof CliError && error.shown.code === code

test('kept for their owner alone, replaced in one step', () => {
  const file = join(dir, 'a/b/servers.json')
  assert.deepEqual(readServers(file), { current: null, servers: {} })
  const known = withServer(readServers(file), 'prod', server)
  writeServers(known, file)
  chmodSync(file, 0o644)
  writeServers(withServer(known, 'test', server), file)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(dirname(file)), ['servers.json'])
  assert.deepEqual(readServers(file), { current: 'test', servers: { prod: server, test: server } })
})

test('one that is forgotten is no longer the current one', () => {
  const two = withServer(withServer({ current: null, servers: {} }, 'a', server), 'b', server)
  assert.deepEqual(withoutServer(two, 'a'), { current: 'b', servers: { b: server } })
  assert.deepEqual(withoutServer(two, 'b'), { current: null, servers: { a: server } })
})

test('a file that is not ours is refused, not replaced', () => {
  for (const text of ['', '{', '[]', '{"servers":{"a":{}}}', '{"servers":3}']) {
    const file = join(dir, 'other.json')
    writeFileSync(file, text)
    assert.throws(() => readServers(file), refused('servers_file_unusable'), text)
  }
})

test('names', () => {
  for (const name of ['prod', 'api.example.org', 'a']) assert.equal(checkName(name), name)
  for (const name of ['local', '', '-a', 'a b', '../a', 'A']) assert.throws(() => checkName(name), refused('usage_wrong'), name)
})

test('where they are kept', () => {
  assert.equal(serversFile({ XDG_CONFIG_HOME: '/x' }), '/x/sovrabase/servers.json')
  assert.equal(serversFile({ HOME: '/h' }), '/h/.config/sovrabase/servers.json')
})
