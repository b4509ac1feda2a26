import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../../../../../test/until.ts'
import { fail } from '../../base/errors.ts'
import { uuid } from '../../base/ids.ts'
import { silentLog } from '../../base/log.ts'
import { eachRealm } from '../realm.testing.ts'
import type { Mail } from '../store/types.ts'
import { type Carriers, makePost } from './post.ts'

const START = Date.UTC(2026, 10, 1)
const of = (kind: string): Mail => ({
  id: uuid(),
  userId: null,
  kind,
  recipient: 'x',
  subject: 's',
  html: 'h',
  text: 't',
  state: 'waiting',
  attempts: 0,
  dueAt: START,
  expiresAt: START + 3_600_000,
  createdAt: START,
  sentAt: null,
  lastError: null,
})

eachRealm((_name, open) => {
  test('each message goes by its carrier; what has none waits; what was refused is tried again', async () => {
    const transact = await open()
    await transact(async (store) => {
      for (const kind of ['recovery', 'sms', 'send_email']) await store.insertMail(of(kind))
    })
    const carried: string[] = []
    let away = true
    const carriers: Carriers = {
      mail: null,
      sms: async ({ kind }) => {
        if (away) throw fail('sms_refused', { reason: 'away' })
        carried.push(kind)
      },
      hook: async ({ kind }) => carried.push(kind),
    }
    let now = START
    let mail: Carriers['mail'] = null
    const post = makePost({
      transact: (_ref, fn) => transact(fn),
      carriers: async () => ({ ...carriers, mail }),
      keeping: async () => ({ audit: null, inactivity: null }),
      log: silentLog,
      now: () => now,
    })
    const states = async () => {
      const mails = await transact((store) => store.mails({ limit: 9, offset: 0 }))
      return Object.fromEntries(
        mails.map(({ kind, state, attempts, lastError }) => [kind, `${state} ${attempts} ${lastError ?? ''}`.trim()]),
      )
    }
    post.poke('p')
    await until(async () => (await states()).sms?.startsWith('waiting 1') && (await states()).send_email === 'sent 1')
    assert.deepEqual(await states(), {
      recovery: 'waiting 0',
      sms: 'waiting 1 The SMS provider did not take the message: away.',
      send_email: 'sent 1',
    })
    now += 10_000
    away = false
    mail = async ({ kind }) => carried.push(kind)
    post.poke('p')
    await until(async () => (await states()).sms === 'sent 2' && (await states()).recovery === 'sent 1')
    assert.deepEqual(carried.sort(), ['recovery', 'send_email', 'sms'])
    await post.close()
  })
})
