/** Members of an organisation that sign in at a project by SAML: a real provider on loopback, and what a browser does between the two. */
import assert from 'node:assert/strict'
import { auth, client, settings } from './auth.ts'
import type { TestServer } from './node.ts'
import { createProject, type TestProject } from './project.ts'
import { type Saying, type Service, startIdp, type TestIdp } from './saml.ts'

export const APP = 'https://app.example.org/'
export const DOMAIN = 'hospital.example.org'
export const MINUTE = 60_000

export const fragment = (url: URL): Record<string, string> => Object.fromEntries(new URLSearchParams(url.hash.slice(1)))

export function must<A extends { data: unknown; error: unknown }>(answer: A): NonNullable<Extract<A, { error: null }>['data']> {
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data as NonNullable<Extract<A, { error: null }>['data']>
}

/** The administration of the providers of a project. */
export const administer = (project: TestProject, method: string, path: string, body?: unknown) =>
  auth(project, method, `/admin/sso${path}`, { key: project.service, body })

/** What a provider says of somebody who was not here before. */
let count = 0
export function somebody(more: Partial<Saying> = {}): Saying & { readonly email: string; readonly name: string } {
  const [email, name] = [`person-${++count}@${DOMAIN}`, `Person ${count}`]
  return { nameId: `id-${count}`, email, name, attributes: { mail: email, displayName: name, groups: ['nurses', 'night'] }, ...more }
}

export const turnOn = (server: TestServer, project: TestProject): Promise<void> =>
  settings(server, project, {
    site_url: APP,
    saml: { enabled: true },
    redirect_urls: [`${APP}**`],
    rates: { sign_ins: 10_000, verifications: 10_000 },
  })

export const metadataOf = async (project: TestProject): Promise<string> =>
  String((await auth(project, 'GET', '/sso/saml/metadata', { key: null })).body)

/** What a project says of itself to providers. */
export async function serviceOf(project: TestProject): Promise<Service> {
  const metadata = await metadataOf(project)
  const [acs = '', entityId = ''] = [/Consumer[^>]*Location="([^"]+)"/, /entityID="([^"]+)"/].map((what) => what.exec(metadata)?.[1])
  return { metadata, acs, entityId }
}

export interface Visits {
  readonly server: TestServer
  readonly project: TestProject
  readonly idp: TestIdp
  /** Of nobody here. */
  readonly stranger: TestIdp
  /** As it says of itself now: whoever rotates its keys reads it anew. */
  service: Service
  /** The id of `idp` here. */
  readonly provider: string
  /** Where a browser is sent to sign in. */
  start(own?: ReturnType<typeof client>): Promise<string>
  /** What a browser does with an answer of the provider: a form that is sent by itself. Answers where it is led. */
  bring(form: Record<string, string>): Promise<URL>
  /** One sign-in by the implicit flow, as the provider says it. */
  enter(saying: Saying, from?: TestIdp): Promise<Record<string, string>>
  close(): Promise<void>
}

/** A project whose people come from a provider. */
export async function openVisits(server: TestServer, name: string): Promise<Visits> {
  const project = await createProject(server, name)
  const [idp, stranger] = await Promise.all([startIdp(), startIdp('stranger')])
  await turnOn(server, project)
  const made = await administer(project, 'POST', '/providers', {
    type: 'saml',
    metadata_url: idp.metadataUrl,
    domains: [DOMAIN],
    attribute_mapping: {
      keys: { name: { name: 'displayName' }, groups: { name: 'groups', array: true }, site: { name: 'none', default: 'Lyon' } },
    },
  })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  const service = await serviceOf(project)
  const start = async (own = client(project)) => must(await own.auth.signInWithSSO({ domain: DOMAIN, options: { redirectTo: APP } })).url
  async function bring(form: Record<string, string>): Promise<URL> {
    const answer = await fetch(service.acs, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
    assert.equal(answer.status, 302, await answer.text())
    return new URL(answer.headers.get('location') ?? '')
  }
  return {
    ...{ server, project, idp, stranger, service, start, bring },
    provider: String(made.body.id),
    enter: async (saying, from = idp) => fragment(await bring(await from.answer(service, await start(), saying))),
    close: async () => {
      await Promise.all([idp.close(), stranger.close()])
    },
  }
}
