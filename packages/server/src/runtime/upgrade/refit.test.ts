import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fail, type SovraError } from '../../base/errors.ts'
import { tinyDriver } from '../tiny.testing.ts'
import { endsWithServer, type RefitParts, refit } from './refit.ts'

/** What `refit` answers when its driver ends the copy so. */
async function broken(error: SovraError): Promise<SovraError> {
  const tiny = tinyDriver()
  const none = () => Promise.reject(new Error('not asked'))
  const parts = {
    driver: { ...tiny, refit: { stage: () => Promise.reject(error), run: none, unfold: none } },
    engine: { upgrade: { can: () => 'able', files: {}, steps: () => [], finish: none } },
    service: { id: 's', volume: 'v' },
    upgrade: { volume: 'w', from: '17.1', to: '18.1' },
  } as unknown as RefitParts
  try {
    return await refit(parts, async () => {}).then(
      () => assert.fail('it went on'),
      (thrown: SovraError) => thrown,
    )
  } finally {
    await tiny.close()
  }
}

test('a program that fails ends the move, with its step and words, without paths', async () => {
  const said = await broken(fail('program_failed', { program: 'pg_upgrade', reason: 'no /var/lib/x/y' }))
  assert.equal(said.code, 'upgrade_failed')
  assert.match(said.message, /\(copy\)/)
  assert.doesNotMatch(said.message, /\/var/)
  assert.equal(endsWithServer(said), false)
})

test('the end of the keeper is no outcome of the move: the next server goes on with it', async () => {
  const said = await broken(fail('keeper_gone'))
  assert.equal(said.code, 'keeper_gone')
  assert.equal(endsWithServer(said), true)
})
