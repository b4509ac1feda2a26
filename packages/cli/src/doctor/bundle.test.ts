import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutSecrets } from './bundle.ts'

test('a support bundle has no secrets, mail addresses or addresses of others', () => {
  const before = {
    jwt: { secret: 's3cret', expiration: 5 },
    database: { type: 'mysql', connection_string: 'mysql://u:p@db/x' },
    api: { host: '127.0.0.1', public_url: null, trusted_proxies: ['10.1.2.3'] },
    log: ['{"msg":"mail to ann@example.com from 203.0.113.9 and 2001:db8:1:2:3:4:5:6"}'],
  }
  assert.deepEqual(withoutSecrets(before), {
    jwt: { secret: '<removed>', expiration: 5 },
    database: { type: 'mysql', connection_string: '<removed>' },
    api: { host: '127.0.0.1', public_url: null, trusted_proxies: ['<address>'] },
    log: ['{"msg":"mail to <mail> from <address> and <address>"}'],
  })
})
