import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { requestOf, type Saying } from '../saml.ts'
import { fragment, MINUTE, somebody, type Visits } from '../saml-visits.ts'

export function attacks(at: () => Visits): void {
  describe('attacks', () => {
    const decode = (form: { SAMLResponse: string }) => Buffer.from(form.SAMLResponse, 'base64').toString()
    const encode = (xml: string) => Buffer.from(xml).toString('base64')
    /** An answer that was signed, then changed. */
    async function forged(change: (xml: string) => string, saying: Partial<Saying> = {}): Promise<Record<string, string>> {
      const { bring, idp, service, start } = at()
      const form = await idp.answer(service, await start(), somebody(saying))
      return fragment(await bring({ ...form, SAMLResponse: encode(change(decode(form))) }))
    }
    const refused = (what: string, got: Record<string, string>, why = '') => {
      assert.equal(got.access_token, undefined, `${what} came in`)
      assert.equal(got.error_code, 'validation_failed', `${what}: ${got.error_code} ${got.error_description}`)
      // Each of the defences is seen to be there: the others would hold too.
      assert.ok(got.error_description?.includes(why), `${what}: ${got.error_description}`)
    }
    const MORE = 'it has more than one assertion'
    const evil = (assertion: string) =>
      assertion
        .replace(/ID="_a/, 'ID="_evil')
        .replace(/<ds:Signature[\s\S]*<\/ds:Signature>/, '')
        .replace(/(<saml:NameID[^>]*>)[^<]*/, '$1admin')
    const assertionIn = (xml: string) => /<saml:Assertion[\s\S]*<\/saml:Assertion>/.exec(xml)?.[0] ?? ''
    const signatureIn = (xml: string) => /<ds:Signature[\s\S]*<\/ds:Signature>/.exec(xml)?.[0] ?? ''

    test('unsigned, changed after signing, signed by another, by a weak algorithm', async () => {
      const { enter, idp, stranger } = at()
      refused('unsigned', await enter(somebody({ signed: 'none' })))
      refused('changed', await forged((xml) => xml.replace(/(<saml:NameID[^>]*>)[^<]*/, '$1admin')))
      refused('stripped', await forged((xml) => xml.replace(/<ds:Signature[\s\S]*<\/ds:Signature>/, '')))
      refused('another provider', await enter(somebody(), stranger))
      refused('another provider in its name', await enter(somebody({ issuer: idp.entityId }), stranger))
      refused(
        'SHA-1',
        await forged((xml) =>
          xml.replace('xmldsig-more#rsa-sha256', 'x').replace('http://www.w3.org/2001/04/x', 'http://www.w3.org/2000/09/xmldsig#rsa-sha1'),
        ),
      )
    })

    test('signature wrapping in each of its shapes', async () => {
      refused(
        'XSW1: a copy of the response around',
        await forged(
          (xml) => {
            const outer = xml.replace(/ID="_r/, 'ID="_evil').replace(signatureIn(xml), '')
            return outer.replace('</samlp:Response>', `${xml}</samlp:Response>`)
          },
          { signed: 'message' },
        ),
        MORE,
      )
      refused(
        'XSW3: an evil assertion before',
        await forged((xml) => xml.replace(assertionIn(xml), evil(assertionIn(xml)) + assertionIn(xml))),
        MORE,
      )
      refused(
        'XSW4: the signed one inside the evil one',
        await forged((xml) =>
          xml.replace(assertionIn(xml), evil(assertionIn(xml)).replace('</saml:Assertion>', `${assertionIn(xml)}</saml:Assertion>`)),
        ),
        MORE,
      )
      refused(
        'XSW5: the evil one has the signature',
        await forged((xml) => {
          const signed = assertionIn(xml).replace(signatureIn(xml), '')
          return xml.replace(
            assertionIn(xml),
            evil(assertionIn(xml)).replace('<saml:Subject>', `${signatureIn(xml)}<saml:Subject>`) + signed,
          )
        }),
        MORE,
      )
      refused(
        'XSW7: in extensions',
        await forged((xml) =>
          xml.replace(assertionIn(xml), `<samlp:Extensions>${evil(assertionIn(xml))}</samlp:Extensions>${assertionIn(xml)}`),
        ),
        MORE,
      )
      refused(
        'XSW8: in an object of the signature',
        await forged((xml) => {
          const signed = assertionIn(xml).replace(signatureIn(xml), '')
          const signature = signatureIn(xml).replace('</ds:Signature>', `<ds:Object>${signed}</ds:Object></ds:Signature>`)
          return xml.replace(assertionIn(xml), evil(assertionIn(xml)).replace('<saml:Subject>', `${signature}<saml:Subject>`))
        }),
        MORE,
      )
      refused(
        'one id twice',
        await forged((xml) => xml.replace(/<samlp:Status>/, `<samlp:Status ID="${/ID="(_a[^"]+)/.exec(xml)?.[1]}">`)),
        'two of its elements have one id',
      )
      refused(
        'the only one elsewhere',
        await forged((xml) => xml.replace(assertionIn(xml), `<samlp:Extensions>${assertionIn(xml)}</samlp:Extensions>`)),
        'its assertion is out of place',
      )
      refused(
        'its signature elsewhere',
        await forged((xml) => xml.replace(signatureIn(xml), '').replace('<samlp:Status>', `<samlp:Status>${signatureIn(xml)}`)),
        'a signature is out of place',
      )
    })

    test('comments, entities and instructions', async () => {
      const { enter } = at()
      refused('a comment in the name', await forged((xml) => xml.replace(/(<saml:NameID[^>]*>)([^<]*)/, '$1admin<!-- -->$2')))
      refused(
        'a comment that was signed',
        await enter(somebody({ edit: (xml) => xml.replace(/(<saml:NameID[^>]*>)([^<]*)/, '$1admin<!-- -->$2') })),
      )
      refused(
        'an entity',
        await forged((xml) => `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>${xml.replace(/(<saml:NameID[^>]*>)[^<]*/, '$1&e;')}`),
      )
      refused('laughs', await forged((xml) => `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>${xml}`))
      refused('an instruction', await forged((xml) => `<?xml-stylesheet href="http://127.0.0.1/"?>${xml}`))
      refused('no XML', await forged(() => 'hello'))
      refused('deep', await forged((xml) => `${'<a>'.repeat(20_000)}${xml}`))
    })

    test('for others, too late, twice', async () => {
      const { bring, enter, idp, service, start } = at()
      refused('audience', await enter(somebody({ audience: 'https://other.example.org/metadata' })))
      refused('recipient', await enter(somebody({ recipient: 'https://other.example.org/acs' })))
      refused('destination', await enter(somebody({ destination: 'https://other.example.org/acs' })))
      refused('another request', await enter(somebody({ inResponseTo: '_other' })))
      refused('no request', await enter(somebody({ inResponseTo: null })))
      refused('expired', await enter(somebody({ ends: -5 * MINUTE })))
      refused('not yet', await enter(somebody({ ends: 30 * MINUTE })))
      refused('a session that ended', await enter(somebody({ sessionEnds: -5 * MINUTE })))
      const form = await idp.answer(service, await start(), somebody())
      assert.ok(fragment(await bring(form)).access_token)
      assert.equal(fragment(await bring(form)).error_code, 'saml_relay_state_not_found')
      // Replayed under the request of somebody else.
      const other = requestOf(await start())
      refused('a replay', fragment(await bring({ ...form, RelayState: other.relayState })))
    })

    test('encrypted for another, or with weak algorithms', async () => {
      const got = await forged((xml) => xml.replace('rsa-oaep-mgf1p', 'rsa-1_5'), { encrypted: true, signed: 'assertion' })
      refused('RSA 1.5', got)
      refused(
        'an unsigned one inside',
        await forged((xml) => xml.replace(/<ds:Signature[\s\S]*?<\/ds:Signature>/, ''), { encrypted: true, signed: 'message' }),
      )
    })
  })
}
