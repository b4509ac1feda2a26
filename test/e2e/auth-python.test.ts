/** Users of a project by the unmodified client of PyPI, which speaks the older shape of errors. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, type TestProject } from '../project.ts'
import { python, pythonWith } from '../python.ts'

let server: TestServer
let project: TestProject
let packages: string
before(async () => {
  packages = await pythonWith('supabase-auth==2.34.1')
  server = await startServer({ env: { SOVRABASE_DEMO: 'off' } })
  project = await createProject(server, 'snakes')
  await settings(server, project, { email_autoconfirm: true, anonymous_users: true })
})
after(() => server?.stop())

const PROGRAM = `
import json, os
from supabase_auth import SyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

url, anon, service = os.environ["URL"] + "/auth/v1", os.environ["ANON"], os.environ["SERVICE"]
said = {}
def client(key):
    return SyncGoTrueClient(url=url, headers={"apikey": key}, auto_refresh_token=False, persist_session=False)
def refused(name, fn):
    try:
        fn()
        said[name] = None
    except AuthApiError as error:
        said[name] = [error.status, error.code, error.message]
    except AuthWeakPasswordError as error:
        said[name] = [error.status, error.code, error.reasons]

own = client(anon)
made = own.sign_up({"email": "zoe@example.org", "password": "correct horse", "options": {"data": {"name": "Zoé"}}})
said["made"] = [made.user.email, made.user.user_metadata["name"], made.session.token_type]
refused("taken", lambda: client(anon).sign_up({"email": "zoe@example.org", "password": "correct horse"}))
refused("wrong", lambda: client(anon).sign_in_with_password({"email": "zoe@example.org", "password": "no"}))
refused("weak", lambda: client(anon).sign_up({"email": "b@example.org", "password": "x"}))
refused("stranger", lambda: client(anon).admin.list_users())
session = client(anon).sign_in_with_password({"email": "zoe@example.org", "password": "correct horse"}).session
said["refreshed"] = own.refresh_session(session.refresh_token).session.refresh_token != session.refresh_token
said["updated"] = own.update_user({"data": {"city": "Lyon"}}).user.user_metadata
totp = own.mfa.enroll({"factor_type": "totp", "friendly_name": "app"})
said["enrolled"] = [totp.type, totp.totp.qr_code[:10]]
refused("code", lambda: own.mfa.challenge_and_verify({"factor_id": totp.id, "code": "000000"}))
said["claims"] = own.get_claims()["claims"]["email"]
said["anonymous"] = client(anon).sign_in_anonymously().user.is_anonymous
admin = SyncGoTrueClient(url=url, headers={"apikey": service, "Authorization": "Bearer " + service}).admin
said["listed"] = len(admin.list_users())
user = admin.create_user({"email": "c@example.org", "email_confirm": True})
said["link"] = admin.generate_link({"type": "magiclink", "email": "c@example.org"}).properties.verification_type
admin.delete_user(user.user.id)
refused("gone", lambda: admin.get_user_by_id(user.user.id))
own.sign_out()
refused("over", lambda: client(anon).refresh_session(session.refresh_token))
print(json.dumps(said))
`

test('sign-up, refusals, refresh, factors, administration', async () => {
  const env = { URL: project.url, ANON: project.anon, SERVICE: project.service }
  const said = JSON.parse(await python(packages, PROGRAM, env)) as Record<string, unknown>
  assert.deepEqual(said, {
    made: ['zoe@example.org', 'Zoé', 'bearer'],
    taken: [422, 'user_already_exists', 'User already registered'],
    wrong: [400, 'invalid_credentials', 'Invalid login credentials'],
    weak: [422, 'weak_password', ['length']],
    stranger: [403, 'not_admin', 'User not allowed'],
    refreshed: true,
    updated: { name: 'Zoé', city: 'Lyon' },
    enrolled: ['totp', 'data:image'],
    code: [422, 'mfa_verification_failed', 'Invalid TOTP code entered'],
    claims: 'zoe@example.org',
    anonymous: true,
    listed: 2,
    link: 'magiclink',
    gone: [404, 'user_not_found', 'User not found'],
    over: [400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found'],
  })
})
