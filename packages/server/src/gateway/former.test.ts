import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sqliteMetadata } from '../../../../test/databases.ts'
import { recordAddress } from './former.ts'

test('addresses: the former ones newest first, each once, at most seven', async () => {
  const { metadata, close } = await sqliteMetadata()
  const started = async (publicUrl: string, baseDomain: string | null = null) =>
    (await recordAddress(metadata, { publicUrl: () => publicUrl, baseDomain, pathForm: true, former: () => [] })).map(
      (address) => address.baseDomain ?? address.publicUrl,
    )
  try {
    assert.deepEqual(await started('http://a'), [])
    assert.deepEqual(await started('http://a'), [])
    assert.deepEqual(await started('http://b'), ['http://a'])
    assert.deepEqual(await started('http://b', 'p.b'), ['http://b', 'http://a'])
    assert.deepEqual(await started('http://a'), ['p.b', 'http://b'])
    for (let at = 0; at < 20; at++) await started(`http://${at}`)
    assert.deepEqual(
      await started('http://end'),
      [19, 18, 17, 16, 15, 14, 13].map((at) => `http://${at}`),
    )
  } finally {
    await close()
  }
})
