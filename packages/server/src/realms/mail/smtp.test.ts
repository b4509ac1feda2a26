import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { type Certificate, selfSigned } from '../../../../../test/certificate.ts'
import { makeOutbound } from '../../base/outbound.ts'
import type { Sender } from './inherit.ts'
import { send } from './smtp.ts'

interface Caught {
  readonly from: string
  readonly to: readonly string[]
  readonly user: string | undefined
  readonly secure: boolean
  readonly text: string
}

const LETTER = { to: 'zoe@example.org', subject: 'Été à “Paris”', html: '<p>Bonjour</p>', text: 'Bonjour' }
const outbound = makeOutbound({ allow: ['127.0.0.1/32'], ownListeners: () => [], caFile: null, proxy: null })
const directory = mkdtempSync(join(tmpdir(), 'sovra-smtp-'))
const servers: SMTPServer[] = []
let certificate: Certificate

before(() => {
  certificate = selfSigned(directory, ['127.0.0.1'])
})
after(async () => {
  rmSync(directory, { recursive: true })
  await outbound.close()
  await Promise.all(servers.map((server) => new Promise<void>((done) => server.close(() => done()))))
})

/** A server that keeps what it takes. */
async function catcher(options: SMTPServerOptions = {}): Promise<{ caught: Caught[]; smtp: Sender }> {
  const caught: Caught[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    closeTimeout: 100,
    key: certificate.key,
    cert: certificate.cert,
    onData(stream, session, done) {
      let text = ''
      stream.on('data', (chunk: Buffer) => (text += chunk))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        caught.push({
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
          user: session.user,
          secure: session.secure,
          text,
        })
        done()
      })
    },
    ...options,
  })
  server.on('error', () => {})
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo
  return {
    caught,
    smtp: { host: '127.0.0.1', port, tls: 'none', from: 'app@example.org', from_name: 'Zoé, Ltd', reply_to: 'us@example.org' },
  }
}

const refusal = (reason: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, 'mail_refused')
  assert.match((error as Error).message, reason)
  assert.doesNotMatch((error as Error).message, /s3cret/)
  return true
}

test('one mail: both texts, its sender, and who signed in', async () => {
  const { caught, smtp } = await catcher({
    authMethods: ['PLAIN', 'LOGIN'],
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _, done) =>
      password === 's3cret' ? done(null, { user: username ?? '' }) : done(new Error('wrong name or password')),
  })
  assert.match(await send(outbound, { ...smtp, user: 'app', password: 's3cret' }, LETTER), /250|OK|accepted/i)
  const [mail] = caught
  assert.deepEqual([mail?.from, mail?.to, mail?.user, mail?.secure], ['app@example.org', [LETTER.to], 'app', false])
  const text = mail?.text ?? ''
  assert.match(text, /^Subject: =\?UTF-8\?/m)
  assert.match(text, /^Reply-To: us@example\.org/m)
  assert.match(text, /^Auto-Submitted: auto-generated/im)
  assert.match(text, /^Content-Type: multipart\/alternative/m)
  assert.match(text, /<p>Bonjour<\/p>/)
  await assert.rejects(send(outbound, { ...smtp, user: 'app', password: 's3cret-not' }, LETTER), refusal(/535|wrong name/))
  assert.equal(caught.length, 1)
})

test('TLS: demanded, from the first byte, and checked', async () => {
  const ca = [certificate.cert]
  const plain = await catcher()
  await assert.rejects(send(outbound, { ...plain.smtp, tls: 'starttls' }, LETTER, ca), refusal(/./))
  assert.equal(plain.caught.length, 0, 'nothing goes in the clear where TLS is demanded')
  await send(outbound, { ...plain.smtp, tls: 'opportunistic' }, LETTER)
  assert.equal(plain.caught[0]?.secure, false)
  const offers = await catcher({ disabledCommands: [] })
  await send(outbound, { ...offers.smtp, tls: 'starttls' }, LETTER, ca)
  assert.equal(offers.caught[0]?.secure, true)
  await assert.rejects(send(outbound, { ...offers.smtp, tls: 'starttls' }, LETTER), refusal(/certificate/i))
  await assert.rejects(send(outbound, { ...offers.smtp, tls: 'implicit' }, LETTER, ca), refusal(/./))
})

test('what a server refuses, and one that is not to be reached', async () => {
  const full = await catcher({
    onRcptTo: (_, __, done) => done(Object.assign(new Error('mailbox is full'), { responseCode: 452 })),
  })
  await assert.rejects(send(outbound, full.smtp, LETTER), refusal(/452.*mailbox is full/))
  const closed = await catcher()
  await new Promise<void>((done) => servers.pop()?.close(() => done()))
  await assert.rejects(send(outbound, closed.smtp, LETTER), refusal(/./))
  const { smtp, caught } = await catcher()
  const strict = makeOutbound({ allow: [], ownListeners: () => [], caFile: null, proxy: null })
  await assert.rejects(send(strict, smtp, LETTER), refusal(/./))
  await strict.close()
  assert.equal(caught.length, 0)
})

test('no one writes headers or further receivers with a name, a subject or an address', async () => {
  const { caught, smtp } = await catcher()
  await send(outbound, { ...smtp, from_name: 'A\r\nBcc: eve@example.org' }, { ...LETTER, subject: 'x\r\nBcc: eve@example.org' })
  assert.deepEqual(caught[0]?.to, [LETTER.to])
  assert.doesNotMatch(caught[0]?.text ?? '', /^Bcc:/m)
})
