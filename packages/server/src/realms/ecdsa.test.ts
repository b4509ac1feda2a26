import assert from 'node:assert/strict'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import { derOf, rawOf } from './ecdsa.ts'

const raw = (r: string, s: string): Buffer => Buffer.from(r.padStart(64, '0') + s.padStart(64, '0'), 'hex')

test('both forms of a signature, as Node makes and reads them; also those that begin with zeros', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
  let short = 0
  // One in 128 begins with a zero.
  for (let i = 0; i < 4_000 && (i < 1_000 || short < 4); i++) {
    const message = Buffer.from(`message ${i}`)
    const der = sign('sha256', message, privateKey)
    const form = rawOf(der)
    if (form[0] === 0 || form[32] === 0) short++
    assert.equal(form.length, 64)
    assert.ok(verify('sha256', message, key, form))
    assert.deepEqual(derOf(form), der)
  }
  assert.ok(short >= 4)
})

test('what is no signature of this curve is none in the other form either', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  for (const length of [0, 1, 63, 65, 96, 128]) assert.equal(derOf(Buffer.alloc(length, 1)), null, String(length))
  const all = 'f'.repeat(64)
  for (const [r, s, hex] of [
    ['0', '0', '3006020100020100'],
    ['1', '80', '300702010102020080'],
    [all, all, `30460221 00${all} 0221 00${all}`.replaceAll(' ', '')],
  ] as const) {
    const der = derOf(raw(r, s))!
    assert.equal(der.toString('hex'), hex)
    assert.equal(verify('sha256', Buffer.from('x'), publicKey, der), false)
  }
})
