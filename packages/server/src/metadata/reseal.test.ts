import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Type } from 'typebox'
import { eachMetadata } from '../../../../test/databases.ts'
import { until } from '../../../../test/until.ts'
import { keyIdOf, makeVault } from '../base/crypto.ts'
import { silentLog } from '../base/log.ts'
import { createProjectKeys, revealApiKeys } from '../realms/api-keys.ts'
import { readRealmKeys } from '../realms/keys.ts'
import { ServiceStore } from '../runtime/services.ts'
import { tinyEngine } from '../runtime/tiny.testing.ts'
import { SYSTEM } from './change.ts'
import { getFact, setFact } from './facts.ts'
import { ROOT_KEY, reseal, startResealing } from './reseal.ts'
import { openSecrets, resealSecrets, sealSecrets } from './sealed.ts'

test('secret leaves of settings are sealed anew where they lie', () => {
  const [old, fresh] = [randomBytes(32), randomBytes(32)]
  const schema = Type.Object({ host: Type.String(), pass: Type.String({ secret: true }) })
  const value = { host: 'h', pass: 'hidden' }
  const anew = resealSecrets(schema, sealSecrets(schema, value, makeVault(old), 'c'), makeVault(fresh, [old]), 'c')
  assert.deepEqual(openSecrets(schema, anew, makeVault(fresh), 'c'), value)
})

const REF = 'abcdefghijklmnopqrst'

eachMetadata((_name, open) => {
  test('after a rotation everything is sealed anew, and only then the former key is not needed any more', async () => {
    const { metadata, change, queue } = await open({ poll: 0 })
    const [old, fresh] = [randomBytes(32), randomBytes(32)]
    const former = makeVault(old)
    const id = await change(SYSTEM, async (c) => {
      await createProjectKeys(c, former, REF, 1, null)
      await setFact(c.trx, 'setup.link', former.seal('link', 'facts/setup.link'))
      await setFact(c.trx, 'other', { text: 'v1.' })
      await setFact(c.trx, ROOT_KEY, former.keyId)
      const service = { project: REF, name: 'db', engine: tinyEngine(), driver: 'tiny', region: 'local', node: 'n', spec: {} }
      return new ServiceStore(former).insert(c.trx, service)
    })
    const opened = async (vault: typeof former) => ({
      keys: (await revealApiKeys(metadata.kysely, vault, REF, 2)).map(({ text }) => text),
      realm: (await readRealmKeys(metadata.kysely, vault, REF, 2)).map(({ kid, secret }) => [kid, secret]),
      service: (await new ServiceStore(vault).byId(metadata.kysely, id))?.secrets,
      link: vault.open((await getFact<string>(metadata.kysely, 'setup.link'))!, 'facts/setup.link'),
    })
    const before = await opened(former)

    const both = makeVault(fresh, [old])
    assert.deepEqual(await opened(both), before)
    await startResealing(metadata, queue, both, silentLog)
    assert.equal(await getFact(metadata.kysely, ROOT_KEY), keyIdOf(old))
    queue.start()
    await until(async () => (await getFact(metadata.kysely, ROOT_KEY)) === keyIdOf(fresh))
    assert.deepEqual(await opened(makeVault(fresh)), before)
    assert.deepEqual(await getFact(metadata.kysely, 'other'), { text: 'v1.' })
    assert.deepEqual(await reseal(metadata, both, silentLog), { sealed: 0, failed: 0 })
  })

  test('what no key opens is left as it is, and the former keys stay on record', async () => {
    const { metadata, change, queue } = await open({ poll: 0 })
    const vaults = [0, 1, 2].map(() => makeVault(randomBytes(32)))
    const [lost, former] = vaults
    const keys = [randomBytes(32), randomBytes(32)] as const
    const now = makeVault(keys[0], [keys[1]])
    await change(SYSTEM, async (c) => {
      await setFact(c.trx, ROOT_KEY, former!.keyId)
      await setFact(c.trx, 'a.lost', lost!.seal('x', 'facts/a.lost'))
      await setFact(c.trx, 'b.good', makeVault(keys[1]).seal('y', 'facts/b.good'))
    })
    await startResealing(metadata, queue, now, silentLog)
    queue.start()
    const done = () => metadata.kysely.selectFrom('jobs').select('state').where('kind', '=', 'reseal').executeTakeFirst()
    await until(async () => (await done())?.state === 'done')
    assert.equal(makeVault(keys[0]).open((await getFact<string>(metadata.kysely, 'b.good'))!, 'facts/b.good'), 'y')
    assert.equal(lost!.open((await getFact<string>(metadata.kysely, 'a.lost'))!, 'facts/a.lost'), 'x')
    assert.equal(await getFact(metadata.kysely, ROOT_KEY), former!.keyId)
  })
})
