import { createHash } from 'node:crypto'
import type { Sms } from '@sovrabase/contract/auth'
import { fail, isSovraError } from '../../base/errors.ts'
import type { Outbound, OutboundResponse } from '../../base/outbound.ts'
import { callUrl } from '../hook-call.ts'

/** A text message as it goes out. */
export interface TextMessage {
  /** Named to the provider, so that a repeated call can be told. */
  readonly id: string
  /** Digits of E.164 without the plus. */
  readonly to: string
  readonly text: string
  readonly channel: string
}

type Sender = (fetch: Outbound['fetch'], sms: Sms, message: TextMessage, now: number) => Promise<string>

const PATIENCE = 10_000
const ANSWER_BYTES = 65_536

const need = (value: string | undefined, name: string): string => {
  if (value === undefined || value === '') throw fail('sms_refused', { reason: `the setting sms.${name} is missing` })
  return value
}

async function told(response: OutboundResponse): Promise<Record<string, unknown>> {
  const text = await response.text()
  let said: Record<string, unknown> = {}
  try {
    said = Object(JSON.parse(text)) as Record<string, unknown>
  } catch {
    // What is no JSON is no answer of such a service: its status says enough.
  }
  if (!response.ok) throw fail('sms_refused', { reason: `${response.status} ${String(said.message ?? '').slice(0, 200)}`.trim() })
  return said
}

/** POSTs `{ id, to, text, channel }`, signed as standardwebhooks.com says. */
const http: Sender = async (fetch, sms, { id, to, text, channel }, now) => {
  const hook = { uri: need(sms.url, 'url'), ...(sms.secret === undefined ? {} : { secret: sms.secret }) }
  const said = await callUrl(fetch, hook, { id, to: `+${to}`, text, channel, ...(sms.sender ? { from: sms.sender } : {}) }, now)
  return String(said.id ?? id)
}

/** https://www.twilio.com/docs/messaging/api/message-resource */
const twilio: Sender = async (fetch, sms, { to, text, channel }) => {
  const account = need(sms.account, 'account')
  const sender = need(sms.sender, 'sender')
  const prefix = channel === 'whatsapp' ? 'whatsapp:' : ''
  const from: Record<string, string> = sender.startsWith('MG') ? { MessagingServiceSid: sender } : { From: prefix + sender }
  const response = await fetch(`${sms.url ?? 'https://api.twilio.com'}/2010-04-01/Accounts/${encodeURIComponent(account)}/Messages.json`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${account}:${need(sms.secret, 'secret')}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({ To: `${prefix}+${to}`, ...from, Body: text }).toString(),
    timeout: PATIENCE,
    maxBytes: ANSWER_BYTES,
    redirects: 0,
  })
  return String((await told(response)).sid ?? '')
}

/** https://help.ovhcloud.com/csm/en-sms-sending-via-api-nodejs: a job of the SMS service, signed with the application's keys. */
const ovh: Sender = async (fetch, sms, { to, text }, now) => {
  const url = `${sms.url ?? 'https://eu.api.ovh.com/1.0'}/sms/${encodeURIComponent(need(sms.account, 'account'))}/jobs`
  const body = JSON.stringify({
    charset: 'UTF-8',
    class: 'phoneDisplay',
    coding: '7bit',
    message: text,
    noStopClause: true,
    priority: 'high',
    receivers: [`+${to}`],
    ...(sms.sender ? { sender: sms.sender, senderForResponse: false } : { senderForResponse: true }),
  })
  const at = String(Math.floor(now / 1000))
  const consumer = need(sms.consumer_key, 'consumer_key')
  const signed = [need(sms.secret, 'secret'), consumer, 'POST', url, body, at].join('+')
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-ovh-application': need(sms.key, 'key'),
      'x-ovh-consumer': consumer,
      'x-ovh-timestamp': at,
      'x-ovh-signature': `$1$${createHash('sha1').update(signed).digest('hex')}`,
    },
    body,
    timeout: PATIENCE,
    maxBytes: ANSWER_BYTES,
    redirects: 0,
  })
  const said = await told(response)
  const ids = Array.isArray(said.ids) ? said.ids : []
  if (ids.length === 0) throw fail('sms_refused', { reason: 'the number is not one that it sends to' })
  return String(ids[0])
}

const SENDERS: Readonly<Record<Sms['provider'], Sender>> = { http, ovh, twilio }

/** Hands one message to the provider through the outbound rule; answers its id there. Throws `sms_refused`. */
export async function sendSms(fetch: Outbound['fetch'], sms: Sms, message: TextMessage, now: number): Promise<string> {
  try {
    return await SENDERS[sms.provider](fetch, sms, message, now)
  } catch (cause) {
    if (isSovraError(cause, 'sms_refused')) throw cause
    throw fail('sms_refused', { reason: isSovraError(cause) ? cause.message.slice(0, 200) : 'it did not answer' }, { cause })
  }
}
