import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isSovraError } from '../base/errors.ts'
import { ensureLocalToken, readLocalToken } from './local-token.ts'

test('the local token is made once, for its owner only, and again after a torn write', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'sovra-token-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'keys', 'local.token')
  assert.throws(
    () => readLocalToken(file),
    (error) => isSovraError(error, 'secret_file_unusable'),
  )
  const token = ensureLocalToken(file)
  assert.match(token, /^sovra_local_[\w-]{43}$/)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.equal(ensureLocalToken(file), token)
  assert.equal(readLocalToken(file), token)
  writeFileSync(file, token.slice(0, 20))
  const next = ensureLocalToken(file)
  assert.notEqual(next, token)
  assert.equal(readFileSync(file, 'utf8'), next)
})
