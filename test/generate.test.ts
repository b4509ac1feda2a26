import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ERRORS } from '@sovrabase/contract/errors'
import { keysOf } from '@sovrabase/server/base/keys'
import { ConfigSchema, loadConfig } from '@sovrabase/server/config'
import { Ajv } from 'ajv'

const folder = mkdtempSync(join(tmpdir(), 'sovra-generate-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const script = join(import.meta.dirname, '../scripts/generate.ts')
const run = (...args: string[]) => spawnSync(process.execPath, [script, '--into', folder, ...args], { encoding: 'utf8' })
const read = (name: string) => readFileSync(join(folder, name), 'utf8')

test('writes all files; --check passes then, and fails by name when one is stale', () => {
  const missing = run('--check')
  assert.equal(missing.status, 1)
  assert.match(missing.stderr, /docs\/config\.md is stale/)
  assert.equal(run().status, 0)
  assert.equal(run('--check').status, 0)
  writeFileSync(join(folder, 'docs/errors.md'), 'old')
  const stale = run('--check')
  assert.equal(stale.status, 1)
  assert.equal(stale.stderr.trim(), 'docs/errors.md is stale: run `npm run generate` and commit it')
  assert.equal(run().status, 0)

  for (const { path, variable } of keysOf(ConfigSchema, 'SOVRABASE_')) {
    assert.ok(read('docs/config.md').includes(`| \`${path}\` |`), path)
    assert.ok(read('docs/config.md').includes(`\`${variable}\``), variable)
  }
  for (const code of Object.keys(ERRORS)) assert.ok(read('docs/errors.md').includes(`| \`${code}\` |`), code)
})

test('config.example.yaml as it is gives the defaults, and so it does with every key uncommented', () => {
  run()
  const defaults = loadConfig({ cwd: folder, env: {}, path: join(folder, 'none.yaml') }).config
  assert.deepEqual(loadConfig({ cwd: folder, env: {}, path: join(folder, 'config.example.yaml') }).config, defaults)
  writeFileSync(join(folder, 'all.yaml'), read('config.example.yaml').replace(/^(\s*)#(?=[a-z_]+:)/gm, '$1'))
  assert.deepEqual(loadConfig({ cwd: folder, env: {}, path: join(folder, 'all.yaml') }).config, defaults)
})

test("the editor's schema accepts what the server accepts, and refuses unknown keys", () => {
  run()
  const validate = new Ajv({ strict: false }).compile(JSON.parse(read('docs/config.schema.json')) as object)
  assert.ok(validate({ api: { port: 1, allow_keyless: 'auto' }, admin: { port: 'auto' }, sleep_after: 'off', limits: null }))
  assert.ok(!validate({ api: { prot: 1 } }))
  assert.ok(!validate({ sleep_after: '5' }))
  assert.ok(!validate({ wire: { port: 'any' } }))
})
