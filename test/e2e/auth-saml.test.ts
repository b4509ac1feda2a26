/** Single sign-on by SAML 2.0: a real identity provider on loopback, the unmodified client, a browser made of fetch. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { auth } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject } from '../project.ts'
import { administer, DOMAIN, metadataOf, openVisits, serviceOf, turnOn, type Visits } from '../saml-visits.ts'
import { attacks } from './auth-saml-attacks.cases.ts'
import { keysOfOurs } from './auth-saml-keys.cases.ts'
import { signingIn } from './auth-saml-signing-in.cases.ts'

let server: TestServer
let visits: Visits

before(async () => {
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
  visits = await openVisits(server, 'saml')
})
after(async () => {
  await server?.stop()
  await visits?.close()
})

test('off: in the words of the dialect; on: our metadata is made once, with a key that signs and one that opens', async () => {
  const project = await createProject(server, 'off-then-on')
  const off = await auth(project, 'POST', '/sso', { body: { domain: DOMAIN } })
  assert.deepEqual([off.status, off.body.error_code, off.body.msg], [404, 'saml_provider_disabled', 'SAML 2.0 is disabled'])
  for (const [method, path] of [
    ['GET', '/sso/saml/metadata'],
    ['POST', '/sso/saml/acs'],
    ['GET', '/admin/sso/providers'],
  ] as const)
    assert.equal((await auth(project, method, path, { key: project.service })).body.error_code, 'saml_provider_disabled')
  await turnOn(server, project)
  assert.equal((await auth(project, 'GET', '/settings')).body.saml_enabled, true)

  const [one, two] = await Promise.all([metadataOf(project), metadataOf(project)])
  assert.equal(one, two)
  const service = await serviceOf(project)
  assert.equal(one, service.metadata)
  assert.deepEqual([service.acs, service.entityId], [`${project.url}/auth/v1/sso/saml/acs`, `${project.url}/auth/v1/sso/saml/metadata`])
  assert.match(one, /use="signing"[\s\S]*use="encryption"/)
  const shown = await server.api<{ own: { saml?: Record<string, unknown> } }>('GET', `/projects/${project.ref}/settings/auth`)
  assert.doesNotMatch(JSON.stringify(shown.body), /PRIVATE KEY/)
})

test('providers: made from XML or an address, listed, changed, removed', async () => {
  const { idp, stranger } = visits
  const project = await createProject(server, 'providers')
  await turnOn(server, project)
  const admin = (method: string, path: string, body?: unknown) => administer(project, method, path, body)
  const made = await admin('POST', '/providers', {
    type: 'saml',
    metadata_url: idp.metadataUrl,
    domains: [DOMAIN.toUpperCase()],
    attribute_mapping: {
      keys: { name: { name: 'displayName' }, groups: { name: 'groups', array: true }, site: { name: 'none', default: 'Lyon' } },
    },
  })
  assert.equal(made.status, 201, JSON.stringify(made.body))
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
  assert.deepEqual(list.map(({ id }) => id).sort(), [String(made.body.id), String(other.body.id)].sort())
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
  const { project, service, stranger } = visits
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
    const answer = await administer(project, 'POST', '/providers', { type: 'saml', ...body })
    assert.deepEqual([what, answer.status, answer.body.error_code], [what, 400, code])
  }
})

signingIn(() => visits)
keysOfOurs(() => visits)
attacks(() => visits)
