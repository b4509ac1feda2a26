import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sealInThread } from './seal.ts'

test('a public key that is none is said once, with the reason', async () => {
  await assert.rejects(sealInThread('text', { recipients: ['age1nonsense'] }), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'backup_key_malformed')
    assert.equal(error.message.split('could not be sealed').length, 2, error.message)
    return true
  })
})
