import type { HookName } from '@sovrabase/contract/auth'
import { fail } from '../../base/errors.ts'
import type { Outbound } from '../../base/outbound.ts'
import { callUrl } from '../hook-call.ts'
import type { Sender } from '../mail/inherit.ts'
import type { Carriers } from '../mail/post.ts'
import { sendSms } from '../mail/sms.ts'
import type { Letter } from '../mail/smtp.ts'
import type { Json, Mail } from '../store/types.ts'
import type { AuthRules } from './rules.ts'

interface Ways {
  readonly fetch: Outbound['fetch']
  send(smtp: Sender, letter: Letter): Promise<string>
}

function callHook({ hooks }: AuthRules, fetch: Outbound['fetch'], mail: Mail): Promise<Json> {
  const hook = hooks?.[mail.kind as HookName]
  if (!hook) throw fail('auth_hook_failed', { uri: mail.kind }, { cause: 'the hook was taken away' })
  return callUrl(fetch, hook, JSON.parse(mail.html) as Json, Date.now())
}

/** Who takes the messages of a realm under these settings. */
export const carriersOf = (rules: AuthRules, smtp: Sender | null, { fetch, send }: Ways): Carriers => ({
  mail: smtp && (({ recipient, subject, html, text }) => send(smtp, { to: recipient, subject, html, text })),
  sms: rules.sms
    ? ({ id, recipient, text, subject }) => sendSms(fetch, rules.sms!, { id, to: recipient, text, channel: subject }, Date.now())
    : null,
  hook: rules.hooks?.send_email || rules.hooks?.send_sms ? (mail) => callHook(rules, fetch, mail) : null,
})
