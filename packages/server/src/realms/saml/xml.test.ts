import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isSovraError } from '../../base/errors.ts'
import { rootOf } from './xml.ts'

describe('XML of providers', () => {
  it('may have comments where that is said', () => {
    assert.equal(rootOf('<a>b<!-- c --><!----><b/></a>', { comments: true }).textContent, 'b')
    for (const text of ['<a><!-- b</a>', '<!--<!--'.repeat(100_000), '<a><!-- b --></a>'])
      assert.throws(
        () => rootOf(text, { comments: text.length !== 17 }),
        (error) => isSovraError(error, 'auth_saml_assertion_invalid'),
      )
  })
})
