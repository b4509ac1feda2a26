import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import test from 'node:test'
import { fail, isSovraError } from './errors.ts'
import { toSovraError } from './http-errors.ts'
import { withShownPaths } from './start-error.ts'

test('an error of a start names the files that people know', () => {
  const seat = { dataDir: '/run/sovrabase/1/m/data', shownDataDir: '/root/app/data' }
  const missing = fail('root_key_missing', { file: '/run/sovrabase/1/m/data/keys/root.key', key_id: 'abc' })
  const told = withShownPaths(missing, seat)
  assert.ok(isSovraError(told, 'root_key_missing'))
  assert.match(told.message, /there is no \/root\/app\/data\/keys\/root\.key,/)
  assert.equal(told.cause, missing)
  const wrong = withShownPaths(
    fail('root_key_wrong', { source: '/run/sovrabase/1/m/data/keys/root.key', file: '/run/sovrabase/1/m/data/keys/root.key' }),
    seat,
  )
  assert.ok(isSovraError(wrong) && !`${wrong.message}${wrong.hint}`.includes('/run/'))
  const same = { dataDir: '/srv/data', shownDataDir: '/srv/data' }
  assert.equal(withShownPaths(missing, same), missing)
  const other = new Error('x')
  assert.equal(withShownPaths(other, seat), other)
})

test('metadata that find no room are answered as a full disk, not as a mistake of ours', () => {
  const database = new DatabaseSync(':memory:')
  database.exec('pragma max_page_count = 4; create table filled (bytes blob)')
  let found: unknown
  try {
    database.exec('insert into filled values (zeroblob(100000))')
  } catch (error) {
    found = error
  }
  assert.ok(found instanceof Error)
  assert.equal(toSovraError(new Error('it was not written', { cause: found })).code, 'disk_low')
  assert.equal(toSovraError(Object.assign(new Error('no space'), { code: 'ENOSPC' })).code, 'disk_low')
  assert.equal(toSovraError(new Error('another')).code, 'internal')
})
