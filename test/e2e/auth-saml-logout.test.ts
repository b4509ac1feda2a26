/** Single log-out by SAML 2.0: asked by the application, and by a real identity provider on loopback. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { encryptFor } from '../../packages/server/src/realms/saml/encrypt.testing.ts'
import { auth, client, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, rest, type TestProject } from '../project.ts'
import { type LogoutWish, type Saying, type Service, startIdp, type TestIdp } from '../saml.ts'
import { APP, administer, DOMAIN, serviceOf } from '../saml-visits.ts'

let server: TestServer
let project: TestProject
let idp: TestIdp
let stranger: TestIdp
let service: Service

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'leaving')
  ;[idp, stranger] = await Promise.all([startIdp(), startIdp('stranger')])
  await settings(server, project, { site_url: APP, redirect_urls: [`${APP}**`], saml: { enabled: true }, rates: { sign_ins: 10_000 } })
  await project.sql('create table public.notes (id int); grant select on public.notes to authenticated')
  service = await serviceOf(project)
  for (const [from, domains] of [
    [idp, [DOMAIN]],
    [stranger, []],
  ] as const) {
    const body = { type: 'saml', metadata_xml: from.metadata, domains }
    assert.equal((await administer(project, 'POST', '/providers', body)).status, 201)
  }
})
after(async () => {
  await server?.stop()
  await Promise.all([idp?.close(), stranger?.close()])
})

const slo = () => `${project.url}/auth/v1/sso/saml/slo`
const said = (nameId: string, sessionIndex: string): Saying => ({ nameId, sessionIndex, attributes: { mail: `${nameId}@${DOMAIN}` } })

/** A session of somebody at the provider; by PKCE, where it begins at the exchange of the code. */
async function enter(saying: Saying, flowType: 'implicit' | 'pkce' = 'implicit'): Promise<string> {
  const own = client(project, project.anon, { flowType, detectSessionInUrl: false })
  const { data } = await own.auth.signInWithSSO({ domain: DOMAIN, options: { redirectTo: APP } })
  const form = await idp.answer(service, data!.url, saying)
  const back = await fetch(service.acs, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
  const to = new URL(back.headers.get('location') ?? '')
  if (flowType === 'implicit') return new URLSearchParams(to.hash.slice(1)).get('access_token') ?? ''
  return (await own.auth.exchangeCodeForSession(to.searchParams.get('code') ?? '')).data.session!.access_token
}

/** Whether a token is good, at auth and at the data. */
async function lives(token: string): Promise<boolean> {
  const [user, rows] = await Promise.all([
    auth(project, 'GET', '/user', { token }),
    rest(project, project.anon, 'GET', '/notes', { token }),
  ])
  assert.equal(user.status === 200, rows.status === 200, `${user.status} ${rows.status}`)
  return rows.status === 200
}

/** What a browser does with a request of the provider. Answers where it is led. */
async function bring(wish: LogoutWish, from = idp, change = (text: string) => text): Promise<URL> {
  const made = change(await from.askLogout(service, wish))
  const form = new URLSearchParams({ SAMLRequest: made, RelayState: wish.relayState ?? '' })
  const answer = await (wish.by === 'post'
    ? fetch(slo(), { method: 'POST', body: form, redirect: 'manual' })
    : fetch(made, { redirect: 'manual' }))
  assert.equal(answer.status, 302, await answer.text())
  return new URL(answer.headers.get('location') ?? '')
}
const ask = async (token: string, redirectTo = `${APP}bye`) =>
  (await auth(project, 'POST', '/sso/logout', { token, body: { redirect_to: redirectTo } })).body.url as string

test('our metadata names where; a token of the way by password has no provider to tell', async () => {
  assert.match(service.metadata, /SingleLogoutService Binding="[^"]+HTTP-Redirect" Location="[^"]+\/sso\/saml\/slo"/)
  const email = 'ada@example.org'
  const password = 'correct horse battery'
  await client(project, project.service).auth.admin.createUser({ email, password, email_confirm: true })
  const { data } = await client(project).auth.signInWithPassword({ email, password })
  const token = data.session!.access_token
  assert.equal(await ask(token), `${APP}bye`)
  assert.equal(await lives(token), false)
  const evil = await client(project).auth.signInWithPassword({ email, password })
  assert.equal(new URL(await ask(evil.data.session!.access_token, 'https://evil.example.com/')).origin, new URL(APP).origin)
  assert.equal((await auth(project, 'POST', '/sso/logout', { body: {} })).status, 401)
})

test('asked here: the own session ends at once, the provider is asked by name and index, and the browser comes back', async () => {
  const [token, other] = [await enter(said('bo', 'i1')), await enter(said('bo', 'i2'), 'pkce')]
  const url = await ask(token)
  assert.deepEqual([await lives(token), await lives(other)], [false, true])
  assert.equal(new URL(url).pathname, '/slo')
  const request = await idp.readLogout(service, url, 'request')
  assert.deepEqual([request.nameID, request.sessionIndex, request.issuer], ['bo', 'i1', service.entityId])
  const relay = new URL(url).searchParams.get('RelayState') ?? ''
  const back = (state: string) => fetch(`${slo()}?SAMLResponse=x&RelayState=${encodeURIComponent(state)}`, { redirect: 'manual' })
  assert.equal((await back(relay)).headers.get('location'), `${APP}bye`)
  assert.equal((await back(relay)).headers.get('location'), APP, 'once')
  assert.equal((await back('https://evil.example.com/')).headers.get('location'), APP)
})

test('asked by the provider: that session, or all of that name, and our signed answer', async () => {
  const [one, two, own] = [await enter(said('cy', 'c1')), await enter(said('cy', 'c2'), 'pkce'), await enter(said('di', 'c1'))]
  const led = await bring({ nameId: 'cy', sessionIndex: 'c2', relayState: 'r1' })
  assert.deepEqual([await lives(one), await lives(two), await lives(own)], [true, false, true])
  assert.deepEqual([led.pathname, led.searchParams.get('RelayState')], ['/slo', 'r1'])
  const { response } = await idp.readLogout(service, led.href, 'response')
  assert.match(String((response as { inResponseTo: string }).inResponseTo), /^_l/)
  await bring({ nameId: 'cy', by: 'post' })
  assert.deepEqual([await lives(one), await lives(own)], [false, true])
  const log = await project.sql(
    `select count(*)::int as n from auth.audit_log_entries where payload->>'action' = 'logout' and payload->'traits'->>'provider' like 'sso:%'`,
  )
  assert.deepEqual(log, [{ n: 2 }])
})

test('a name that is encrypted for us, with a key that signs no more too', async () => {
  const name = '<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">fay</saml:NameID>'
  const hidden = await encryptFor(service.metadata, name)
  const edit = (xml: string) => xml.replace(/<saml:NameID.*<\/saml:NameID>/, `<saml:EncryptedID>${hidden}</saml:EncryptedID>`)
  for (const by of ['redirect', 'post'] as const) {
    const token = await enter(said('fay', 'f1'))
    assert.equal((await bring({ nameId: '', by, edit })).pathname, '/slo')
    assert.equal(await lives(token), false, by)
    for (const path of ['', '/rotate']) await server.api('POST', `/projects/${project.ref}/saml-keys${path}`)
  }
})

test('attacks: unsigned, changed, of another provider, for another, old, twice; nobody is signed out', async () => {
  const token = await enter(said('eve', 'e1'))
  const refused = async (what: string, wish: Partial<LogoutWish>, from = idp, change?: (text: string) => string) => {
    const led = await bring({ nameId: 'eve', ...wish }, from, change)
    assert.equal(led.origin, new URL(APP).origin, what)
    assert.match(led.searchParams.get('error_code') ?? '', /validation_failed|saml_idp_not_found/, what)
    assert.equal(await lives(token), true, what)
  }
  const later = (ms: number) => (xml: string) =>
    xml.replace(/IssueInstant="[^"]+"/, `IssueInstant="${new Date(Date.now() + ms).toISOString()}"`)
  const unsigned = (url: string) => url.replace(/&Sig(Alg|nature)=[^&]*/g, '')
  const other = (url: string) => url.replace(/SAMLRequest=[^&]+/, () => `SAMLRequest=${/SAMLRequest=([^&]+)/.exec(spare)?.[1]}`)
  const spare = await idp.askLogout(service, { nameId: 'somebody' })
  const inXml = (change: (xml: string) => string) => (form: string) =>
    Buffer.from(change(Buffer.from(form, 'base64').toString())).toString('base64')

  for (const by of ['redirect', 'post'] as const) {
    await refused(`unsigned, ${by}`, { by, signed: false })
    await refused(`for another address, ${by}`, {
      by,
      edit: (xml) => xml.replace(/Destination="[^"]+"/, 'Destination="https://x.example/"'),
    })
    await refused(`old, ${by}`, { by, edit: later(-600_000) })
    await refused(`of tomorrow, ${by}`, { by, edit: later(86_400_000) })
    await refused(`a comment in the name, ${by}`, { by, nameId: 'x', edit: (xml) => xml.replace('>x<', '>eve<!-- -->x<') })
    await refused(`in the name of the other, ${by}`, { by, edit: (xml) => xml.replaceAll(stranger.entityId, idp.entityId) }, stranger)
  }
  await refused('the signature taken off', {}, idp, unsigned)
  await refused('the signature of another request', {}, idp, other)
  await refused('two requests', {}, idp, (url) => `${url}&SAMLRequest=${/SAMLRequest=([^&]+)/.exec(spare)?.[1]}`)
  await refused('SHA-1', {}, idp, (url) => url.replace(/rsa-sha256/, 'rsa-sha1'))
  await refused('too much', {}, idp, (url) => url.replace(/SAMLRequest=[^&]+/, 'SAMLRequest=AAAA'))
  await refused(
    'another name',
    { by: 'post', nameId: 'x' },
    idp,
    inXml((xml) => xml.replace('>x<', '>eve<')),
  )
  await refused(
    'wrapped',
    { by: 'post', nameId: 'x' },
    idp,
    inXml((xml) => {
      const evil = xml
        .replace(/ID="_l/, 'ID="_evil')
        .replace(/<ds:Signature[\s\S]*<\/ds:Signature>/, '')
        .replace('>x<', '>eve<')
      return evil.replace('</samlp:LogoutRequest>', `<samlp:Extensions>${xml}</samlp:Extensions></samlp:LogoutRequest>`)
    }),
  )

  // The stranger's own request is good, and ends sessions of its own people alone.
  assert.equal((await bring({ nameId: 'eve' }, stranger)).pathname, '/slo')
  assert.equal(await lives(token), true)
  const kept = await idp.askLogout(service, { nameId: 'eve' })
  const once = () => bring({ nameId: '' }, idp, () => kept)
  assert.equal((await once()).pathname, '/slo')
  assert.equal(await lives(token), false)
  const again = await enter(said('eve', 'e1'))
  assert.match((await once()).searchParams.get('error_description') ?? '', /used before/)
  assert.equal(await lives(again), true)
})
