import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inRange, parseAddress, parseRange, special } from './addresses.ts'

const hex = (text: string) => Buffer.from(parseAddress(text) ?? []).toString('hex')

test('addresses become 16 bytes', () => {
  assert.equal(hex('1.2.3.4'), '00000000000000000000ffff01020304')
  assert.equal(hex('::ffff:1.2.3.4'), hex('1.2.3.4'))
  assert.equal(hex('::ffff:102:304'), hex('1.2.3.4'))
  assert.equal(hex('::'), '0'.repeat(32))
  assert.equal(hex('1::'), `0001${'0'.repeat(28)}`)
  assert.equal(hex('2001:db8::1'), '20010db8000000000000000000000001')
  assert.equal(hex('1:2:3:4:5:6:7:8'), '00010002000300040005000600070008')
  assert.equal(hex('1:2:3:4:5:6:1.2.3.4'), '00010002000300040005000601020304')
  assert.equal(hex('64:ff9b::10.0.0.1'), '0064ff9b00000000000000000a000001')
})

test('only canonical text is an address', () => {
  for (const text of [
    '',
    '1.2.3',
    '2130706433',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '127.1',
    'fe80::1%eth0',
    '::1%1',
    'localhost',
    '1.2.3.4 ',
    ':::',
  ]) {
    assert.equal(parseAddress(text), null, text)
  }
})

test('what is not of the public internet, in every disguise', () => {
  const cases: readonly [address: string, why: string][] = [
    ['127.0.0.1', 'loopback'],
    ['127.255.0.9', 'loopback'],
    ['::1', 'loopback'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['10.1.2.3', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.1.1', 'private'],
    ['fd12::1', 'private'],
    ['fec0::1', 'private'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['100.64.0.1', 'shared (CGNAT)'],
    ['100.127.255.255', 'shared (CGNAT)'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['192.0.2.1', 'documentation'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['2001:db8::1', 'documentation'],
    ['3fff::1', 'documentation'],
    ['198.19.0.1', 'reserved'],
    ['192.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['240.0.0.1', 'reserved'],
    ['100::1', 'reserved'],
    ['4000::1', 'reserved'],
    ['2001:0:7f00:1::', 'reserved'], // Teredo
    ['64:ff9b:1::1', 'reserved'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::ffff:0:127.0.0.1', 'loopback'],
    ['::127.0.0.1', 'loopback'],
    ['::10.0.0.1', 'private'],
    ['64:ff9b::127.0.0.1', 'loopback'],
    ['64:ff9b::a9fe:101', 'link-local'],
    ['2002:7f00:1::', 'loopback'],
    ['2002:c0a8:101::1', 'private'],
  ]
  for (const [address, why] of cases) assert.equal(special(parseAddress(address)!), why, address)
})

test('the public internet', () => {
  for (const address of [
    '1.1.1.1',
    '9.9.9.9',
    '172.15.0.1',
    '172.32.0.1',
    '100.63.0.1',
    '2606:4700::1',
    '::ffff:1.1.1.1',
    '64:ff9b::1.1.1.1',
  ]) {
    assert.equal(special(parseAddress(address)!), null, address)
  }
})

test('ranges', () => {
  const inside = (address: string, range: string) => inRange(parseAddress(address)!, parseRange(range))
  assert.ok(inside('10.9.9.9', '10.0.0.0/8'))
  assert.ok(inside('::ffff:10.9.9.9', '10.0.0.0/8'))
  assert.ok(!inside('11.0.0.1', '10.0.0.0/8'))
  assert.ok(inside('192.168.1.130', '192.168.1.128/25'))
  assert.ok(!inside('192.168.1.127', '192.168.1.128/25'))
  assert.ok(inside('fd00::1', 'fd00::/8'))
  assert.ok(inside('1.2.3.4', '1.2.3.4'))
  assert.ok(inside('1.2.3.4', '0.0.0.0/0'))
  assert.ok(!inside('2606::1', '0.0.0.0/0'))
  for (const text of ['10.0.0.0/33', '10.0.0/8', 'x', '10.0.0.0/-1', '10.0.0.0/8/8', '::/129', '10.0.0.0/']) {
    assert.throws(() => parseRange(text), { code: 'outbound_range_invalid' }, text)
  }
})
