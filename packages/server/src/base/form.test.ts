import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formFields } from './form.ts'

const TEXTS = [
  '',
  'a=1&b=2&a=3',
  'a',
  'a&&=&=b&b=',
  '&a=1&',
  'a+b=c+d%2B',
  'x=a%3Db=c&%61=%C3%A9',
  'bad=%zz&half=%C3&%',
  '%E2%82=%ff',
  'é=ü',
]

describe('the fields of a form', () => {
  for (const text of TEXTS)
    it(`as URLSearchParams reads them: ${text}`, () => assert.deepEqual(formFields(text), [...new URLSearchParams(text)]))

  it('are read in one go, however many have no value', () => {
    assert.equal(formFields('a&'.repeat(1_000_000)).length, 1_000_000)
  })
})
