import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressKeeper } from './kept-address.ts'

test('an address is kept whole, truncated to its network, or not at all', () => {
  const [whole, truncated, absent] = [addressKeeper('whole'), addressKeeper('truncated'), addressKeeper('absent')]
  const cases: readonly [address: string, network: string | null, plain: string][] = [
    ['203.0.113.77', '203.0.113.0', '203.0.113.77'],
    ['::ffff:203.0.113.77', '203.0.113.0', '203.0.113.77'],
    ['2001:db8:1:2::9', '2001:db8:1::', '2001:db8:1:2::9'],
    ['2001:db8::9', '2001:db8:0::', '2001:db8::9'],
    ['fe80::1%eth0', 'fe80:0:0::', 'fe80::1%eth0'],
    ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
    ['::1', '::1', '::1'],
    ['nonsense', null, 'nonsense'],
  ]
  for (const [address, network, plain] of cases) {
    assert.equal(truncated(address), network, address)
    assert.equal(whole(address), plain, address)
    assert.equal(absent(address), null, address)
  }
  assert.equal(truncated(null), null)
})
