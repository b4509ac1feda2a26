import assert from 'node:assert/strict'
import { test } from 'node:test'
import { senderOf } from './inherit.ts'

const platform = { host: 'relay.example.org', port: 25, tls: 'none', from: 'no-reply@example.org', from_name: 'Example' } as const

test('a server is inherited, and a sender of one’s own on it; a server of one’s own stands alone', () => {
  assert.equal(senderOf([undefined, undefined, undefined]), null)
  assert.equal(senderOf([undefined, { from: 'a@example.org' }]), null, 'a sender is no server')
  assert.deepEqual(senderOf([platform, undefined, undefined]), platform)
  assert.deepEqual(senderOf([platform, { reply_to: 'help@example.org' }, { from: 'shop@example.org', from_name: 'Shop' }]), {
    ...platform,
    from: 'shop@example.org',
    from_name: 'Shop',
    reply_to: 'help@example.org',
  })
  const own = { host: 'smtp.example.com', user: 'u', password: 'p', from: 'me@example.com' }
  assert.deepEqual(senderOf([platform, { reply_to: 'help@example.org' }, own]), own)
})
