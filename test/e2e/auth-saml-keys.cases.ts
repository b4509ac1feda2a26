import assert from 'node:assert/strict'
import { verify, X509Certificate } from 'node:crypto'
import { describe, test } from 'node:test'
import type { Service } from '../saml.ts'
import { fragment, metadataOf, serviceOf, somebody, type Visits } from '../saml-visits.ts'

export function keysOfOurs(at: () => Visits): void {
  describe('keys of ours', () => {
    interface Key {
      readonly kid: string
      readonly state: string
    }
    const certificates = (xml: string, use: string) =>
      [...xml.matchAll(new RegExp(`use="${use}"[\\s\\S]*?X509Certificate>([^<]+)`, 'g'))].map(([, text]) => text!)
    /** As a provider with this metadata of ours does it: it verifies the request and encrypts for the key that it knows. */
    async function signsIn(known: Service): Promise<boolean> {
      const { bring, idp, start } = at()
      const url = await start()
      const [query = '', signature = ''] = (url.split('?')[1] ?? '').split('&Signature=')
      const verified = certificates(known.metadata, 'signing').some((text) => {
        const key = new X509Certificate(Buffer.from(text, 'base64')).publicKey
        return verify('sha256', Buffer.from(query), key, Buffer.from(decodeURIComponent(signature), 'base64'))
      })
      const got = fragment(await bring(await idp.answer(known, url, somebody({ encrypted: true }))))
      return verified && got.access_token !== undefined
    }

    test('rotated without a failed sign-in: the next one is published, then signs; the former opens for a while', async (t) => {
      const { project, server, service } = at()
      const path = `/projects/${project.ref}/saml-keys`
      const metadata = () => metadataOf(project)
      t.after(async () => {
        at().service = await serviceOf(project)
      })
      const before = await metadata()
      const old = { ...service, metadata: before }
      assert.equal((await server.api<{ code: string }>('POST', `${path}/rotate`)).body.code, 'key_not_prepared')
      const next = await server.api<Key>('POST', path)
      assert.deepEqual([next.status, next.body.state], [201, 'next'])
      const both = await metadata()
      for (const use of ['signing', 'encryption']) {
        assert.deepEqual([certificates(before, use).length, certificates(both, use).length], [1, 2])
        assert.equal(certificates(both, use)[0], certificates(before, use)[0], 'the one that signs stands first')
      }
      const fresh = { ...service, metadata: both }
      assert.deepEqual([await signsIn(old), await signsIn(fresh)], [true, true], 'prepared')
      const eager = { ...service, metadata: both.replace(/<KeyDescriptor use="encryption">[\s\S]*?<\/KeyDescriptor>/, '') }
      assert.equal(await signsIn(eager), true, 'encrypted for the next one already')

      const turned = await server.api<Key>('POST', `${path}/rotate`)
      assert.deepEqual([turned.status, turned.body.kid, turned.body.state], [200, next.body.kid, 'current'])
      assert.deepEqual([await signsIn(fresh), await signsIn(eager)], [true, true], 'a provider that knows both, and encrypts for either')
      const later = await metadata()
      assert.deepEqual(certificates(later, 'signing'), certificates(both, 'signing').slice(1))
      assert.equal(await signsIn({ ...service, metadata: later }), true)

      const { items } = (await server.api<{ items: Key[] }>('GET', path)).body
      assert.deepEqual(items.map(({ state }) => state).sort(), ['current', 'retired'])
      const retired = items.find(({ state }) => state === 'retired')!.kid
      assert.equal((await server.api<{ code: string }>('DELETE', `${path}/${next.body.kid}`)).body.code, 'key_in_use')
      assert.equal((await server.api('DELETE', `${path}/${retired}`)).status, 204)
      assert.equal(await signsIn(fresh), false, 'what is encrypted for a revoked key is not opened')
    })
  })
}
