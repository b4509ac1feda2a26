import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { Sms } from '@sovrabase/contract/auth'
import { isSovraError } from '../../base/errors.ts'
import { startReceiver } from '../auth/realm.testing.ts'
import { sendSms } from './sms.ts'

let receiver: Awaited<ReturnType<typeof startReceiver>>
before(async () => {
  receiver = await startReceiver()
})
after(() => receiver?.close())

const NOW = Date.UTC(2026, 10, 1)
const MESSAGE = { id: 'm1', to: '33600000001', text: 'Votre code est 123456', channel: 'sms' }
const send = (sms: Sms) => sendSms(receiver.fetch, sms, MESSAGE, NOW)
const refused = (reason: RegExp) => (error: unknown) => {
  assert.ok(isSovraError(error, 'sms_refused'), String(error))
  assert.match(error.message, reason)
  assert.doesNotMatch(error.message, /s3cret/)
  return true
}

test('a generic provider gets a signed POST', async () => {
  const key = Buffer.alloc(24, 5)
  receiver.answer = () => ({ body: { id: 'their-1' } })
  const sms: Sms = { provider: 'http', url: `${receiver.url}/sms`, secret: `v1,whsec_${key.toString('base64')}`, sender: 'Acme' }
  assert.equal(await send(sms), 'their-1')
  const { headers, body } = receiver.calls.at(-1)!
  assert.deepEqual(JSON.parse(body), { id: 'm1', to: '+33600000001', text: MESSAGE.text, channel: 'sms', from: 'Acme' })
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
  assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', key).update(signed).digest('base64')}`)
  receiver.answer = () => ({ status: 500, body: {} })
  await assert.rejects(send(sms), refused(/./))
  await assert.rejects(send({ provider: 'http' }), refused(/sms\.url is missing/))
})

test('Twilio', async () => {
  receiver.answer = () => ({ status: 201, body: { sid: 'SM1' } })
  const sms: Sms = { provider: 'twilio', url: receiver.url, account: 'AC1', secret: 's3cret', sender: '+15550001' }
  assert.equal(await send(sms), 'SM1')
  const { url, headers, body } = receiver.calls.at(-1)!
  assert.equal(url, '/2010-04-01/Accounts/AC1/Messages.json')
  assert.equal(headers.authorization, `Basic ${Buffer.from('AC1:s3cret').toString('base64')}`)
  assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), { To: '+33600000001', From: '+15550001', Body: MESSAGE.text })
  await sendSms(receiver.fetch, { ...sms, sender: 'MG1' }, { ...MESSAGE, channel: 'whatsapp' }, NOW)
  assert.equal(new URLSearchParams(receiver.calls.at(-1)!.body).get('MessagingServiceSid'), 'MG1')
  assert.equal(new URLSearchParams(receiver.calls.at(-1)!.body).get('To'), 'whatsapp:+33600000001')
  receiver.answer = () => ({ status: 401, body: { code: 20003, message: 'Authenticate' } })
  await assert.rejects(send(sms), refused(/401 Authenticate/))
})

test('OVHcloud: a job, signed with the keys of the application', async () => {
  receiver.answer = () => ({ body: { ids: [42], validReceivers: ['+33600000001'], invalidReceivers: [] } })
  const sms: Sms = {
    provider: 'ovh',
    url: `${receiver.url}/1.0`,
    account: 'sms-ab1-1',
    key: 'AK',
    secret: 'AS',
    consumer_key: 'CK',
    sender: 'Acme',
  }
  assert.equal(await send(sms), '42')
  const { url, headers, body } = receiver.calls.at(-1)!
  assert.equal(url, '/1.0/sms/sms-ab1-1/jobs')
  const text = `AS+CK+POST+${receiver.url}${url}+${body}+${NOW / 1000}`
  assert.equal(headers['x-ovh-signature'], `$1$${createHash('sha1').update(text).digest('hex')}`)
  assert.deepEqual([headers['x-ovh-application'], headers['x-ovh-consumer'], headers['x-ovh-timestamp']], ['AK', 'CK', String(NOW / 1000)])
  assert.deepEqual(
    [JSON.parse(body).receivers, JSON.parse(body).message, JSON.parse(body).sender],
    [['+33600000001'], MESSAGE.text, 'Acme'],
  )
  receiver.answer = () => ({ body: { ids: [], invalidReceivers: ['+33600000001'] } })
  await assert.rejects(send(sms), refused(/not one that it sends to/))
})
