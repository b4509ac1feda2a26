import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseAccounts, uidPool } from './accounts.ts'
import { checkName, checkOrder } from './hands.ts'

const ALL = '         0          0 4294967295\n'
const ROOTLESS = '0 1000 1\n1 100000 65535\n'

for (const [name, uid, map, expected] of [
  ['not root', 1000, ALL, { isolation: 'same-user', server: null, projects: null }],
  ['the whole map', 0, ALL, { isolation: 'full', server: 1_900_000_000, projects: { first: 1_900_000_001, count: 99_999 } }],
  ['a rootless container', 0, ROOTLESS, { isolation: 'full', server: 20_000, projects: { first: 20_001, count: 4_999 } }],
  ['a few uids', 0, '0 1000 1\n1 100000 10\n', { isolation: 'same-user', server: 9, projects: { first: 10, count: 1 } }],
  ['root and one', 0, '0 1000 2\n', { isolation: 'same-user', server: 1, projects: { first: 1, count: 1 } }],
  ['root only', 0, '0 1000 1\n', 'nested'],
] as const) {
  test(`accounts: ${name}`, () => assert.deepEqual(chooseAccounts(uid, map, map), expected))
}

test('accounts: the range is the one that was chosen', () => {
  assert.deepEqual(
    chooseAccounts(0, ROOTLESS, ROOTLESS, ({ first, width, count }) => {
      assert.deepEqual([first, width, count], [20_000, 5_000, 8])
      return 7
    }),
    { isolation: 'full', server: 55_000, projects: { first: 55_001, count: 4_999 } },
  )
})

test('accounts: what the gid map lacks is not used', () => {
  assert.deepEqual(chooseAccounts(0, ALL, '0 1000 1\n1 100000 10\n'), {
    isolation: 'same-user',
    server: 9,
    projects: { first: 10, count: 1 },
  })
})

test('uids are never given twice, and given again only when the range is through', () => {
  const pool = uidPool({ first: 10, count: 4 }, [11, 99])
  assert.deepEqual([pool.take(), pool.take(), pool.take()], [12, 13, 10])
  pool.free(12)
  assert.equal(pool.take(), 12)
  assert.ok(pool.fits(13))
  assert.ok(!pool.fits(14))
})

const ORDER = { volume: 'a', command: ['postgres'], environment: {}, files: {}, pidFile: null, stop: [], memory: 0 }

for (const [name, change] of [
  ['a path for a volume', { volume: '../etc' }],
  ['a hidden volume', { volume: '.new-a' }],
  ['a file outside the top of the volume', { files: { '../x': '' } }],
  ['a file in a directory of the volume', { files: { 'a/b': '' } }],
  ['a variable of the loader', { environment: { LD_PRELOAD: '/tmp/x.so' } }],
  ['a pid file elsewhere', { pidFile: '/etc/passwd' }],
  ['an unknown signal', { stop: [{ signal: 'SIGSTOP', wait: 1 }] }],
  ['endless patience', { stop: [{ signal: 'SIGINT', wait: 1e12 }] }],
  ['no command', { command: [] }],
  ['versions that are none', { versions: { known: ['18'] } }],
  ['a number for a volume', { volume: 7 }],
] as const) {
  test(`orders: ${name} is refused`, () => assert.throws(() => checkOrder({ ...ORDER, ...change }), { code: 'order_refused' }))
}

test('orders: a valid one passes', () => {
  assert.deepEqual(checkOrder(ORDER), { ...ORDER, versions: null })
  assert.equal(checkName('postgres-18.4-1a2b'), 'postgres-18.4-1a2b')
})
