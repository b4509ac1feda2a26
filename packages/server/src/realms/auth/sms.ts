import { uuid } from '../../base/ids.ts'
import type { RealmStore, RealmUser } from '../store/types.ts'
import { hookInside, userFor, withMetadata } from './hooks.ts'
import { languageFor } from './mails.ts'
import type { Realm } from './realm.ts'

/** Kind of a text message in the outbox. */
export const SMS = 'sms'
export const CHANNELS = ['sms', 'whatsapp'] as const
export type Channel = (typeof CHANNELS)[number]

export interface Text {
  readonly user: RealmUser
  /** Digits of E.164. */
  readonly phone: string
  readonly code: string
  readonly channel: Channel
}

/**
 * Into the outbox, in the transaction that makes the code; answers the id of the message. Nothing is sent to test numbers. Where a hook of the
 * project sends, it gets the code: at once as a function of the database, from the outbox as a URL.
 */
export async function writeSms(realm: Realm, store: RealmStore, { user, phone, code, channel }: Text): Promise<string> {
  const { rules } = realm
  if (Object.hasOwn(rules.sms_test_codes, phone)) return 'test-otp'
  const id = uuid()
  const now = realm.now()
  const payload = { user: userFor({ ...user, phone }), sms: { otp: code, phone, sms_type: channel } }
  const hooked = rules.hooks?.send_sms !== undefined
  if (hooked && (await hookInside(realm, store, 'send_sms', payload)) !== null) return id
  const template = rules.sms_template ?? realm.languages.sms(languageFor(realm, user))
  await store.insertMail({
    id,
    userId: user.id,
    kind: hooked ? 'send_sms' : SMS,
    recipient: phone,
    subject: channel,
    html: hooked ? JSON.stringify(withMetadata(realm, 'send_sms', payload)) : '',
    text: template.replaceAll(/\{\{\s*\.Code\s*\}\}/g, code),
    state: 'waiting',
    attempts: 0,
    dueAt: now,
    expiresAt: now + rules.sms_otp_expiry * 1000,
    createdAt: now,
    sentAt: null,
    lastError: null,
  })
  return id
}
