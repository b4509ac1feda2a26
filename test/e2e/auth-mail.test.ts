/** Mails of projects through a real server: what waits, where it is set, who it is from. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { SMTPServer } from 'smtp-server'
import { client, outbox, settings } from '../auth.ts'
import { startServer, type TestServer } from '../node.ts'
import { createProject, ORGANISATION, type ProjectBody, type TestProject } from '../project.ts'
import { until } from '../until.ts'

interface Caught {
  readonly from: string
  readonly to: readonly string[]
  readonly text: string
}

let server: TestServer
let catcher: SMTPServer
let port: number
const caught: Caught[] = []
const PASSWORD = 'correct horse battery'

before(async () => {
  catcher = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    closeTimeout: 100,
    onData(stream, session, done) {
      let text = ''
      stream.on('data', (chunk: Buffer) => (text += chunk))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        caught.push({ from: mailFrom === false ? '' : mailFrom.address, to: rcptTo.map(({ address }) => address), text })
        done()
      })
    },
  })
  catcher.listen(0, '127.0.0.1')
  await once(catcher.server, 'listening')
  port = (catcher.server.address() as AddressInfo).port
  server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
})
after(async () => {
  await server?.stop()
  await new Promise<void>((done) => catcher.close(() => done()))
})

const mailTo = (address: string) => until(() => caught.find(({ to }) => to.includes(address)))
const ask = (project: TestProject, email: string) => client(project).auth.signUp({ email, password: PASSWORD })
const smtp = (more: object) => ({ host: '127.0.0.1', port, tls: 'none', ...more })
const waiting = async () => (await server.api<{ mail: { waiting: number } }>('GET', '/status')).body.mail.waiting

test('mails wait loudly, and go out when a server is set: on the platform, the organisation, or the project', async () => {
  const project = await createProject(server, 'post')
  await settings(server, project, { mail_interval: 0 })
  await ask(project, 'a@example.org')
  await ask(project, 'b@example.org')
  await until(async () => (await waiting()) === 2)
  const seen = await server.api<ProjectBody & { mail_waiting?: number }>('GET', `/projects/${project.ref}`)
  assert.equal(seen.body.mail_waiting, 2)
  await until(() => server.output().includes('mail_not_configured, 2 waiting'))

  const set = await server.api('PATCH', '/platform/settings/auth', { smtp: smtp({ from: 'platform@example.org', from_name: 'Platform' }) })
  assert.equal(set.status, 200, JSON.stringify(set.body))
  assert.equal((await mailTo('a@example.org')).from, 'platform@example.org')
  await mailTo('b@example.org')
  await until(async () => (await waiting()) === 0)
  assert.deepEqual(
    (await outbox(server, project)).items.map(({ state, text }) => [state, text]),
    [
      ['sent', ''],
      ['sent', ''],
    ],
  )

  // The organisation's answers go elsewhere, the project signs them: on the platform's server.
  const own = await server.api('PATCH', `/organisations/${ORGANISATION}/settings/mail`, { smtp: { reply_to: 'help@example.org' } })
  assert.equal(own.status, 200, JSON.stringify(own.body))
  await settings(server, project, { smtp: { from: 'shop@example.org', from_name: 'Shop' } })
  await ask(project, 'c@example.org')
  const { from, text } = await mailTo('c@example.org')
  assert.equal(from, 'shop@example.org')
  assert.match(text, /^From: Shop <shop@example\.org>/m)
  assert.match(text, /^Reply-To: help@example\.org/m)

  await server.api('PATCH', `/organisations/${ORGANISATION}/settings/mail`, { smtp: smtp({ from: 'acme@example.org' }) })
  await settings(server, project, { smtp: null })
  await ask(project, 'd@example.org')
  assert.equal((await mailTo('d@example.org')).from, 'acme@example.org')
})

test('a server without a sender, a sender with a password, and other settings of an organisation are refused', async () => {
  const path = `/organisations/${ORGANISATION}/settings/mail`
  for (const body of [
    { smtp: { host: 'a.example.org' } },
    { smtp: { from: 'a@example.org', password: 'x' } },
    { site_url: 'https://a.example.org/' },
  ])
    assert.equal((await server.api('PATCH', path, body)).status, 400, JSON.stringify(body))
  const secret = smtp({ from: 'acme@example.org', user: 'u', password: 's3cret-of-smtp' })
  const set = await server.api('PATCH', path, { smtp: secret })
  assert.equal(set.status, 200, JSON.stringify(set.body))
  assert.ok(!JSON.stringify([set.body, (await server.api('GET', path)).body]).includes('s3cret-of-smtp'))
})

test('what was to be sent when the server was killed is sent by the next one', async () => {
  const project = await createProject(server, 'killed')
  // Nobody listens there yet.
  await settings(server, project, { smtp: { host: '127.0.0.1', port: 9, tls: 'none', from: 'x@example.org' } })
  await ask(project, 'late@example.org')
  await until(async () => (await outbox(server, project)).items[0]?.last_error)
  const { dataDir } = server
  await server.kill('SIGKILL')
  server = await startServer({ dataDir, env: { SOVRABASE_DEMO: 'off', SOVRABASE_NETWORK_ALLOW: '127.0.0.1/32' } })
  await settings(server, project, { smtp: smtp({ from: 'x@example.org' }) })
  await server.api('POST', `/projects/${project.ref}/sleep`)
  assert.equal((await mailTo('late@example.org')).from, 'x@example.org')
})
