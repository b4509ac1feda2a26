/** Single sign-on by SAML 2.0: a real identity provider on loopback, the unmodified client, a browser made of fetch. */
import assert from 'node:assert/strict'
import { verify, X509Certificate } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'
import { requestOf, type Saying, type Service, startIdp, type TestIdp } from '../saml.ts'

let server: TestServer
let project: TestProject
let idp: TestIdp
let stranger: TestIdp
let service: Service
let provider = ''
let count = 0
const APP = 'https://app.example.org/'
const DOMAIN = 'hospital.example.org'
const MINUTE = 60_000

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
  project = await createProject(server, 'saml')
  ;[idp, stranger] = await Promise.all([startIdp(), startIdp('stranger')])
})
after(async () => {
  await server?.stop()
  await Promise.all([idp?.close(), stranger?.close()])
})

function must<A extends { data: unknown; error: unknown }>(answer: A): NonNullable<Extract<A, { error: null }>['data']> {
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data as NonNullable<Extract<A, { error: null }>['data']>
}

const admin = (method: string, path: string, body?: unknown) => auth(project, method, `/admin/sso${path}`, { key: project.service, body })
const fragment = (url: URL) => Object.fromEntries(new URLSearchParams(url.hash.slice(1)))
const pkceClient = () => client(project, project.anon, { flowType: 'pkce', detectSessionInUrl: false })
const somebody = (more: Partial<Saying> = {}): Saying & { email: string } => {
  const email = `person-${++count}@${DOMAIN}`
  return { nameId: `id-${count}`, email, attributes: { mail: email, displayName: `Person ${count}`, groups: ['nurses', 'night'] }, ...more }
}

const start = async (own = client(project)) => must(await own.auth.signInWithSSO({ domain: DOMAIN, options: { redirectTo: APP } })).url

/** What a browser does with an answer of the provider: a form that is sent by itself. Answers where it is led. */
async function bring(form: Record<string, string>): Promise<URL> {
  const answer = await fetch(service.acs, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
  assert.equal(answer.status, 302, await answer.text())
  return new URL(answer.headers.get('location') ?? '')
}

/** One sign-in by the implicit flow, as the provider says it. */
async function enter(saying: Saying, from: TestIdp = idp) {
  const url = await start()
  return fragment(await bring(await from.answer(service, url, saying)))
}

test('off: in the words of the dialect; nothing wakes', async () => {
  const off = await auth(project, 'POST', '/sso', { body: { domain: DOMAIN } })
  assert.deepEqual([off.status, off.body.error_code, off.body.msg], [404, 'saml_provider_disabled', 'SAML 2.0 is disabled'])
  for (const [method, path] of [
    ['GET', '/sso/saml/metadata'],
    ['POST', '/sso/saml/acs'],
    ['GET', '/admin/sso/providers'],
  ] as const)
    assert.equal((await auth(project, method, path, { key: project.service })).body.error_code, 'saml_provider_disabled')
  await settings(server, project, {
    site_url: APP,
    saml: { enabled: true },
    redirect_urls: [`${APP}**`],
    rates: { sign_ins: 10_000, verifications: 10_000 },
  })
  assert.equal((await auth(project, 'GET', '/settings')).body.saml_enabled, true)
})

test('our metadata is made once, with a key that signs and one that opens', async () => {
  const read = async () => String((await auth(project, 'GET', '/sso/saml/metadata', { key: null })).body)
  const [one, two] = await Promise.all([read(), read()])
  assert.equal(one, two)
  assert.equal(one, await read())
  service = {
    metadata: one,
    acs: /Consumer[^>]*Location="([^"]+)"/.exec(one)?.[1] ?? '',
    entityId: /entityID="([^"]+)"/.exec(one)?.[1] ?? '',
  }
  assert.deepEqual([service.acs, service.entityId], [`${project.url}/auth/v1/sso/saml/acs`, `${project.url}/auth/v1/sso/saml/metadata`])
  assert.match(one, /use="signing"[\s\S]*use="encryption"/)
  const shown = await server.api<{ own: { saml?: Record<string, unknown> } }>('GET', `/projects/${project.ref}/settings/auth`)
  assert.doesNotMatch(JSON.stringify(shown.body), /PRIVATE KEY/)
})

test('providers: made from XML or an address, listed, changed, removed', async () => {
  const made = await admin('POST', '/providers', {
    type: 'saml',
    metadata_url: idp.metadataUrl,
    domains: [DOMAIN.toUpperCase()],
    attribute_mapping: {
      keys: { name: { name: 'displayName' }, groups: { name: 'groups', array: true }, site: { name: 'none', default: 'Lyon' } },
    },
  })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  provider = String(made.body.id)
  const { saml, domains } = made.body as { saml: Record<string, unknown>; domains: unknown }
  assert.deepEqual([saml.entity_id, saml.metadata_url, domains], [idp.entityId, idp.metadataUrl, [{ domain: DOMAIN }]])
  const again = await admin('POST', '/providers', { type: 'saml', metadata_xml: idp.metadata })
  assert.deepEqual([again.status, again.body.error_code], [422, 'saml_idp_already_exists'])
  const taken = await admin('POST', '/providers', { type: 'saml', metadata_xml: stranger.metadata, domains: [DOMAIN] })
  assert.deepEqual([taken.status, taken.body.error_code], [400, 'sso_domain_already_exists'])
  const id = '00000000-0000-4000-8000-00000000a5a5'
  const other = await admin('POST', '/providers', { id, type: 'saml', metadata_xml: stranger.metadata, domains: ['other.example.org'] })
  assert.equal(other.body.id, id, 'brought along from where the project was')
  const list = (await admin('GET', '/providers')).body.items as { id: string; saml: object }[]
  assert.deepEqual(list.map(({ id }) => id).sort(), [provider, String(other.body.id)].sort())
  assert.ok(!('metadata_xml' in list[0]!.saml))
  const changed = await admin('PUT', `/providers/${other.body.id}`, { domains: ['third.example.org'], resource_id: 'r1' })
  assert.deepEqual([changed.body.domains, changed.body.resource_id], [[{ domain: 'third.example.org' }], 'r1'])
  const mismatch = await admin('PUT', `/providers/${other.body.id}`, { metadata_xml: idp.metadata })
  assert.deepEqual([mismatch.status, mismatch.body.error_code], [400, 'saml_entity_id_mismatch'])
  assert.equal((await admin('DELETE', `/providers/${other.body.id}`)).body.id, other.body.id)
  assert.equal((await admin('GET', `/providers/${other.body.id}`)).body.error_code, 'sso_provider_not_found')
  const log = (await auth(project, 'GET', '/admin/audit?query=type:sso_provider', { key: project.service })).body as unknown as {
    payload: { action: string }
  }[]
  assert.deepEqual(
    log.map(({ payload }) => payload.action),
    ['sso_provider_deleted', 'sso_provider_updated', 'sso_provider_created', 'sso_provider_created'],
  )
  assert.equal((await auth(project, 'GET', '/admin/sso/providers')).status, 403, 'the key of applications administers nothing')
})

test('metadata that is refused: no XML, entities, other addresses, no certificate', async () => {
  const { metadata } = stranger
  const xxe = metadata
    .replace(/^(<\?xml[^>]*\?>)?/, '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>')
    .replace(stranger.entityId, '&e;')
  const bad: [string, Record<string, unknown>, string][] = [
    ['no XML', { metadata_xml: 'hello' }, 'validation_failed'],
    ['entities', { metadata_xml: xxe }, 'validation_failed'],
    ['ours', { metadata_xml: service.metadata }, 'validation_failed'],
    ['no certificate', { metadata_xml: metadata.replace(/<KeyDescriptor[\s\S]*<\/KeyDescriptor>/, '') }, 'validation_failed'],
    ['plain HTTP', { metadata_url: 'http://metadata.example.org/' }, 'validation_failed'],
    ['both', { metadata_url: 'https://metadata.example.org/', metadata_xml: metadata }, 'validation_failed'],
    ['an inner address', { metadata_url: 'https://169.254.169.254/latest/meta-data' }, 'saml_metadata_fetch_failed'],
    ['our own address', { metadata_url: `${server.url}/health` }, 'saml_metadata_fetch_failed'],
  ]
  for (const [what, body, code] of bad) {
    const answer = await admin('POST', '/providers', { type: 'saml', ...body })
    assert.deepEqual([what, answer.status, answer.body.error_code], [what, 400, code])
  }
})

describe('signing in', () => {
  test('by its domain, with PKCE: a user of the provider, its claims by the mapping, what policies read', async () => {
    const own = pkceClient()
    const saying = somebody()
    const url = await start(own)
    const request = requestOf(url)
    assert.match(request.xml, new RegExp(`AssertionConsumerServiceURL="${service.acs}"`))
    assert.ok(new URL(url).searchParams.get('Signature'), 'the request is signed')
    const back = await bring(await idp.answer(service, url, saying))
    const { user, session } = must(await own.auth.exchangeCodeForSession(back.searchParams.get('code') ?? ''))
    const name = `sso:${provider}`
    assert.deepEqual([user!.email, user!.app_metadata], [saying.email, { provider: name, providers: [name] }])
    assert.deepEqual(
      [user!.user_metadata.name, user!.user_metadata.custom_claims],
      [`Person ${count}`, { groups: ['nurses', 'night'], site: 'Lyon' }],
    )
    const claims = JSON.parse(Buffer.from(session!.access_token.split('.')[1]!, 'base64url').toString()) as { amr: object[] }
    assert.deepEqual({ ...claims.amr[0], timestamp: 0 }, { method: 'sso/saml', provider, timestamp: 0 })
    const rows = await project.sql('select is_sso_user from auth.users where id = $1', [user!.id])
    assert.deepEqual(rows, [{ is_sso_user: true }])
  })

  test('implicit, by the message signed, encrypted, and both; the session ends when the provider says so', async () => {
    const saying = somebody({ sessionEnds: 90 * MINUTE })
    for (const more of [{ signed: 'message' }, { encrypted: true }, { encrypted: true, signed: 'message' }] as const) {
      const got = await enter({ ...saying, ...more })
      assert.ok(got.access_token, `${JSON.stringify(more)}: ${got.error_description}`)
    }
    const rows = await project.sql(
      'select distinct extract(epoch from not_after - created_at) > 5000 as late from auth.sessions where not_after is not null',
    )
    assert.deepEqual(rows, [{ late: true }])
  })

  test('an account with the same address stays another account; the address follows the organisation', async () => {
    const saying = somebody()
    const known = must(
      await client(project, project.service).auth.admin.createUser({ email: saying.email, password: 'correct horse', email_confirm: true }),
    ).user!
    const got = await enter(saying)
    const { user } = must(await client(project).auth.getUser(got.access_token))
    assert.notEqual(user!.id, known.id)
    const moved = await enter({ ...saying, attributes: { mail: `new-name@${DOMAIN}` } })
    const { user: later } = must(await client(project).auth.getUser(moved.access_token))
    assert.deepEqual([later!.id, later!.email], [user!.id, `new-name@${DOMAIN}`])
  })

  test('not without a lasting id, nor without an address; not when off; not to a page that is not allowed', async () => {
    const transient = await enter(somebody({ format: 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient' }))
    assert.equal(transient.error_code, 'saml_assertion_no_user_id')
    assert.equal((await enter(somebody({ attributes: {} }))).error_code, 'saml_assertion_no_email')
    const refused = await enter(somebody({ status: 'Responder', edit: (xml) => xml }))
    assert.match(refused.error_description ?? '', /says Responder/)
    const open = must(
      await client(project).auth.signInWithSSO({ domain: DOMAIN, options: { redirectTo: 'https://evil.example.com/' } }),
    ).url
    assert.equal((await bring(await idp.answer(service, open, somebody()))).origin, new URL(APP).origin)
    await admin('PUT', `/providers/${provider}`, { disabled: true })
    const off = await client(project).auth.signInWithSSO({ domain: DOMAIN })
    assert.equal((off.error as { code?: string } | null)?.code, 'sso_provider_disabled')
    await admin('PUT', `/providers/${provider}`, { disabled: false })
    const none = await client(project).auth.signInWithSSO({ domain: 'nowhere.example.org' })
    assert.equal((none.error as { code?: string } | null)?.code, 'sso_provider_not_found')
  })

  test('started by the provider: off, then on, once', async () => {
    const unasked = () => idp.answer(service, null, somebody({ inResponseTo: null }))
    assert.equal(fragment(await bring(await unasked())).error_code, 'saml_relay_state_not_found')
    await settings(server, project, { saml: { enabled: true, allow_idp_initiated: true } })
    const form = { ...(await unasked()), RelayState: `${APP}welcome` }
    const back = await bring(form)
    assert.deepEqual([back.pathname, Boolean(fragment(back).access_token)], ['/welcome', true])
    assert.match(fragment(await bring(form)).error_description ?? '', /used before/)
    const asked = await idp.answer(service, null, somebody({ inResponseTo: '_guess' }))
    assert.match(fragment(await bring(asked)).error_description ?? '', /does not answer the request/)
    const foreign = await bring({ ...(await unasked()), RelayState: 'https://evil.example.com/' })
    assert.equal(foreign.origin, new URL(APP).origin)
    await settings(server, project, { saml: { enabled: true } })
  })
})

describe('keys of ours', () => {
  interface Key {
    readonly kid: string
    readonly state: string
  }
  const path = () => `/projects/${project.ref}/saml-keys`
  const metadata = async () => String((await auth(project, 'GET', '/sso/saml/metadata', { key: null })).body)
  const certificates = (xml: string, use: string) =>
    [...xml.matchAll(new RegExp(`use="${use}"[\\s\\S]*?X509Certificate>([^<]+)`, 'g'))].map(([, text]) => text!)
  /** As a provider with this metadata of ours does it: it verifies the request and encrypts for the key that it knows. */
  async function signsIn(known: Service): Promise<boolean> {
    const url = await start()
    const [query = '', signature = ''] = (url.split('?')[1] ?? '').split('&Signature=')
    const verified = certificates(known.metadata, 'signing').some((text) => {
      const key = new X509Certificate(Buffer.from(text, 'base64')).publicKey
      return verify('sha256', Buffer.from(query), key, Buffer.from(decodeURIComponent(signature), 'base64'))
    })
    const got = fragment(await bring(await idp.answer(known, url, somebody({ encrypted: true }))))
    return verified && got.access_token !== undefined
  }

  test('rotated without a failed sign-in: the next one is published, then signs; the former opens for a while', async () => {
    const before = await metadata()
    const old = { ...service, metadata: before }
    assert.equal((await server.api<{ code: string }>('POST', `${path()}/rotate`)).body.code, 'key_not_prepared')
    const next = await server.api<Key>('POST', path())
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

    const turned = await server.api<Key>('POST', `${path()}/rotate`)
    assert.deepEqual([turned.status, turned.body.kid, turned.body.state], [200, next.body.kid, 'current'])
    assert.deepEqual([await signsIn(fresh), await signsIn(eager)], [true, true], 'a provider that knows both, and encrypts for either')
    const later = await metadata()
    assert.deepEqual(certificates(later, 'signing'), certificates(both, 'signing').slice(1))
    assert.equal(await signsIn({ ...service, metadata: later }), true)

    const { items } = (await server.api<{ items: Key[] }>('GET', path())).body
    assert.deepEqual(items.map(({ state }) => state).sort(), ['current', 'retired'])
    const retired = items.find(({ state }) => state === 'retired')!.kid
    assert.equal((await server.api<{ code: string }>('DELETE', `${path()}/${next.body.kid}`)).body.code, 'key_in_use')
    assert.equal((await server.api('DELETE', `${path()}/${retired}`)).status, 204)
    assert.equal(await signsIn(fresh), false, 'what is encrypted for a revoked key is not opened')
    service = { ...service, metadata: later }
  })
})

describe('attacks', () => {
  const decode = (form: { SAMLResponse: string }) => Buffer.from(form.SAMLResponse, 'base64').toString()
  const encode = (xml: string) => Buffer.from(xml).toString('base64')
  /** An answer that was signed, then changed. */
  async function forged(change: (xml: string) => string, saying: Partial<Saying> = {}): Promise<Record<string, string>> {
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
        return xml.replace(assertionIn(xml), evil(assertionIn(xml)).replace('<saml:Subject>', `${signatureIn(xml)}<saml:Subject>`) + signed)
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
