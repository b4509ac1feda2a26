import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { client, settings } from '../auth.ts'
import { requestOf } from '../saml.ts'
import { APP, administer, DOMAIN, fragment, MINUTE, must, somebody, type Visits } from '../saml-visits.ts'

export function signingIn(at: () => Visits): void {
  describe('signing in', () => {
    test('by its domain, with PKCE: a user of the provider, its claims by the mapping, what policies read', async () => {
      const { bring, idp, project, provider, service, start } = at()
      const own = client(project, project.anon, { flowType: 'pkce', detectSessionInUrl: false })
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
        [saying.name, { groups: ['nurses', 'night'], site: 'Lyon' }],
      )
      const claims = JSON.parse(Buffer.from(session!.access_token.split('.')[1]!, 'base64url').toString()) as { amr: object[] }
      assert.deepEqual({ ...claims.amr[0], timestamp: 0 }, { method: 'sso/saml', provider, timestamp: 0 })
      const rows = await project.sql('select is_sso_user from auth.users where id = $1', [user!.id])
      assert.deepEqual(rows, [{ is_sso_user: true }])
    })

    test('implicit, by the message signed, encrypted, and both; the session ends when the provider says so', async () => {
      const { enter, project } = at()
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
      const { enter, project } = at()
      const saying = somebody()
      const known = must(
        await client(project, project.service).auth.admin.createUser({
          email: saying.email,
          password: 'correct horse',
          email_confirm: true,
        }),
      ).user!
      const got = await enter(saying)
      const { user } = must(await client(project).auth.getUser(got.access_token))
      assert.notEqual(user!.id, known.id)
      const moved = await enter({ ...saying, attributes: { mail: `new-name@${DOMAIN}` } })
      const { user: later } = must(await client(project).auth.getUser(moved.access_token))
      assert.deepEqual([later!.id, later!.email], [user!.id, `new-name@${DOMAIN}`])
    })

    test('not without a lasting id, nor without an address; not when off; not to a page that is not allowed', async () => {
      const { bring, enter, idp, project, provider, service } = at()
      const transient = await enter(somebody({ format: 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient' }))
      assert.equal(transient.error_code, 'saml_assertion_no_user_id')
      assert.equal((await enter(somebody({ attributes: {} }))).error_code, 'saml_assertion_no_email')
      const refused = await enter(somebody({ status: 'Responder', edit: (xml) => xml }))
      assert.match(refused.error_description ?? '', /says Responder/)
      const open = must(
        await client(project).auth.signInWithSSO({ domain: DOMAIN, options: { redirectTo: 'https://evil.example.com/' } }),
      ).url
      assert.equal((await bring(await idp.answer(service, open, somebody()))).origin, new URL(APP).origin)
      await administer(project, 'PUT', `/providers/${provider}`, { disabled: true })
      const off = await client(project).auth.signInWithSSO({ domain: DOMAIN })
      assert.equal((off.error as { code?: string } | null)?.code, 'sso_provider_disabled')
      await administer(project, 'PUT', `/providers/${provider}`, { disabled: false })
      const none = await client(project).auth.signInWithSSO({ domain: 'nowhere.example.org' })
      assert.equal((none.error as { code?: string } | null)?.code, 'sso_provider_not_found')
    })

    test('started by the provider: off, then on, once', async () => {
      const { bring, idp, project, server, service } = at()
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
}
