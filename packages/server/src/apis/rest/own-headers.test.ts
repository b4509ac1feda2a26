import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { databaseError } from '../../runtime/engines/postgres/wire/errors.ts'
import { type Caller, renderError } from './errors.ts'
import { isHeader, ownHeaders } from './own-headers.ts'

const raised = (headers: object, shared: boolean) => {
  const fields = { sqlstate: 'PGRST', message: '{"code":"x","message":"m"}', detail: JSON.stringify({ status: 418, headers }) }
  const error = databaseError(fields as Parameters<typeof databaseError>[0])
  const caller: Caller = { role: 'anon', authenticated: false, shared }
  return renderError(error, caller, () => null).headers
}

describe('headers that a project sets', () => {
  it('neither frame the message nor tell a proxy anything', () => {
    const given = ['Transfer-Encoding', 'content-length', 'Connection', 'X-Accel-Redirect', 'x-accel-expires', 'X-Sendfile', 'X-Mine']
    assert.deepEqual(
      ownHeaders(
        given.map((name) => [name, 'a'] as const),
        false,
      ),
      { 'x-mine': 'a' },
    )
    assert.equal(
      ownHeaders(
        [
          ['x-a', 'a'.repeat(20_000)],
          ['x-b', 'b'.repeat(20_000)],
        ],
        false,
      ),
      null,
    )
    assert.deepEqual(
      [isHeader('x-a', 'é'), isHeader('x-a', 'a\r\nb'), isHeader('x-a', '☃'), isHeader('a b', 'c')],
      [true, false, false, false],
    )
  })

  it('of a raised error are held to the same', () => {
    const given = {
      'Set-Cookie': 'a=b; Domain=example.org; HttpOnly',
      'Access-Control-Allow-Origin': '*',
      'Transfer-Encoding': 'chunked',
      'x-a': 1,
    }
    assert.deepEqual(raised({ ...given, 'x b': 'c', 'x-c': 'a\nb' }, true), { 'x-a': '1' })
    assert.deepEqual(raised(given, false), { 'set-cookie': ['a=b; HttpOnly'], 'access-control-allow-origin': '*', 'x-a': '1' })
  })
})
