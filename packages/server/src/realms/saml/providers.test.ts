import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, before, test } from 'node:test'
import { startIdp, type TestIdp } from '../../../../../test/saml.ts'
import { expiringMap } from '../../base/cache.ts'
import { isSovraError } from '../../base/errors.ts'
import { startReceiver, testRealm } from '../auth/realm.testing.ts'
import type { RealmKey } from '../keys.ts'
import { eachRealm } from '../realm.testing.ts'
import { changeProvider, createProvider, listProviders, readProvider, removeProvider, withFreshMetadata } from './providers.ts'
import { serviceOf } from './service.ts'
import { beginSaml, landingOf } from './sign-in.ts'

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const KEY = { kid: 'saml', use: 'saml', state: 'current', createdAt: 0, key: privateKey } as RealmKey
const DAY = 86_400_000
let idp: TestIdp
let other: TestIdp
let receiver: Awaited<ReturnType<typeof startReceiver>>
before(async () => {
  ;[idp, other, receiver] = await Promise.all([startIdp(), startIdp('other'), startReceiver()])
})
after(() => Promise.all([idp?.close(), other?.close(), receiver?.close()]))

const code = (name: string) => (error: unknown) => isSovraError(error) && error.code === name

eachRealm((_name, open) => {
  test('identity providers are kept with their domains, each of which is one provider’s', async () => {
    const realm = testRealm(await open(), {})
    const made = await createProvider(realm, { type: 'saml', metadata_xml: idp.metadata, domains: ['a.example.org', 'B.example.org'] })
    assert.deepEqual(made.domains, ['a.example.org', 'b.example.org'])
    const taken = { type: 'saml', metadata_xml: other.metadata, domains: ['c.example.org', 'a.example.org'] }
    await assert.rejects(createProvider(realm, taken), code('auth_sso_domain_already_exists'))
    assert.equal((await listProviders(realm)).length, 1, 'nothing of it stays')
    const second = await createProvider(realm, { ...taken, domains: ['c.example.org'], resource_id: 'them' })
    await assert.rejects(changeProvider(realm, second.id, { domains: ['b.example.org'] }), code('auth_sso_domain_already_exists'))
    const changed = await changeProvider(realm, 'resource_them', { disabled: true, attribute_mapping: { keys: { name: { name: 'cn' } } } })
    assert.deepEqual(
      [changed.id, changed.disabled, changed.mapping, changed.domains],
      [second.id, true, { name: { name: 'cn' } }, ['c.example.org']],
    )
    assert.deepEqual(await readProvider(realm, second.id), changed)
    await assert.rejects(changeProvider(realm, made.id, { resource_id: 'them' }), code('auth_conflict'))
    await removeProvider(realm, made.id)
    await assert.rejects(createProvider(realm, { type: 'saml', metadata_xml: idp.metadata, id: second.id }), code('auth_conflict'))
    await assert.rejects(readProvider(realm, made.id), code('auth_sso_provider_not_found'))
    assert.deepEqual(
      (await changeProvider(realm, second.id, { domains: ['a.example.org'] })).domains,
      ['a.example.org'],
      'it is free again',
    )
  })

  test('the implicit flow ends in the browser that it began in', async () => {
    const realm = testRealm(await open(), { saml: { enabled: true } })
    const { id: providerId } = await createProvider(realm, { type: 'saml', metadata_xml: idp.metadata })
    const begin = async () => {
      const begun = await beginSaml(realm, serviceOf(realm, [KEY]), { providerId, domain: null, redirectTo: null, pkce: null })
      return { cookie: begun.cookie!, relayState: new URL(begun.url).searchParams.get('RelayState') ?? '' }
    }
    const lured = await begin()
    await assert.rejects(
      landingOf(realm, lured.relayState, () => null),
      code('auth_bad_oauth_state'),
    )
    await assert.rejects(
      landingOf(realm, lured.relayState, () => lured.cookie.value),
      code('auth_saml_relay_state_not_found'),
      'used up',
    )
    const [mine, another] = [await begin(), await begin()]
    await assert.rejects(
      landingOf(realm, mine.relayState, () => another.cookie.value),
      code('auth_bad_oauth_state'),
    )
    const landing = await landingOf(realm, another.relayState, (hash) => (hash === another.cookie.hash ? another.cookie.value : null))
    assert.equal(landing.providerId, providerId)
  })

  test('a relay state is good once, and goes with its flow and its provider', async () => {
    const realm = testRealm(await open(), {})
    const { id: providerId } = await createProvider(realm, { type: 'saml', metadata_xml: idp.metadata })
    const state = { id: providerId, providerId, requestId: '_r', redirectTo: 'https://a.example.org/', createdAt: realm.at, flowId: null }
    await realm.transact((store) => store.insertRelayState(state))
    assert.deepEqual(await realm.transact((store) => store.takeRelayState(providerId)), state)
    assert.equal(await realm.transact((store) => store.takeRelayState(providerId)), null)
    await realm.transact((store) => store.insertRelayState(state))
    await removeProvider(realm, providerId)
    assert.equal(await realm.transact((store) => store.takeRelayState(providerId)), null)
  })

  test('metadata of an address is read anew each day; where it does not answer, what is known stays good', async () => {
    const realm = testRealm(await open(), {}, receiver.fetch)
    const made = await createProvider(realm, { type: 'saml', metadata_url: idp.metadataUrl })
    const fetched = idp.fetched
    const tried = expiringMap<true>(10, () => realm.at)
    assert.equal(await withFreshMetadata(realm, made, tried), made)
    realm.at += DAY + 1
    const renamed = idp.metadata.replace('/sso"', '/new-sso"')
    idp.served = renamed
    const fresh = await withFreshMetadata(realm, made, tried)
    assert.deepEqual([fresh.metadataXml, idp.fetched], [renamed, fetched + 1])
    assert.equal((await readProvider(realm, made.id)).metadataXml, renamed)
    realm.at += DAY + 1
    idp.served = other.metadata
    assert.equal((await withFreshMetadata(realm, fresh, tried)).metadataXml, renamed, 'another provider is not taken for it')
    assert.equal(await withFreshMetadata(realm, fresh, tried), fresh)
    assert.equal(idp.fetched, fetched + 2, 'it is not asked again at once')
    idp.served = idp.metadata
  })

  test('over TLS the browser that comes back is the one that left, unless a verifier says who it is', async () => {
    const realm = testRealm(await open(), { saml: { enabled: true } })
    await createProvider(realm, { type: 'saml', metadata_xml: idp.metadata, domains: ['a.example.org'] })
    const service = serviceOf(realm, [KEY])
    const wish = { providerId: null, domain: 'a.example.org', redirectTo: null, pkce: null }
    const relayOf = (url: string) => new URL(url).searchParams.get('RelayState') ?? ''
    const begun = await beginSaml(realm, service, wish)
    const { hash, value } = begun.cookie!
    await assert.rejects(
      landingOf(realm, relayOf(begun.url), () => 'of another'),
      code('auth_bad_oauth_state'),
    )
    await assert.rejects(
      landingOf(realm, relayOf(begun.url), () => value),
      code('auth_saml_relay_state_not_found'),
    )
    const again = await beginSaml(realm, service, wish)
    assert.notEqual(again.cookie?.hash, hash)
    assert.equal((await landingOf(realm, relayOf(again.url), () => again.cookie!.value)).requestId?.[0], '_')
    const proved = await beginSaml(realm, service, { ...wish, pkce: { challenge: 'c'.repeat(43), method: 's256' } })
    assert.equal(proved.cookie, null)
    realm.at += 11 * 60_000
    await assert.rejects(
      landingOf(realm, relayOf(proved.url), () => null),
      code('auth_saml_relay_state_expired'),
    )
  })
})
