import type { MailKind } from '@sovrabase/contract/plain'
import { uuid } from '../../base/ids.ts'
import { compose } from '../mail/compose.ts'
import type { Json, RealmStore, RealmUser } from '../store/types.ts'
import { hookInside, userFor, withMetadata } from './hooks.ts'
import type { Sent } from './one-time.ts'
import type { Realm } from './realm.ts'
import { redirectOf } from './redirects.ts'

export interface Message {
  readonly kind: MailKind
  readonly user: RealmUser
  /** Where it goes. */
  readonly address: string
  readonly sent: Sent
  /** Of the link: `signup`, `recovery`, … */
  readonly type: string
  readonly redirectTo: string | null
  readonly newEmail?: string
  /** Of a change that both addresses confirm: what the present one gets, for a hook, which is called once. */
  readonly current?: Sent
}

/** The link of a mail. */
export function linkOf(realm: Realm, type: string, token: string, redirectTo: string | null): string {
  const query = new URLSearchParams({ token, type, redirect_to: redirectOf(realm.rules, realm.url, redirectTo) })
  return `${realm.url}/auth/v1/verify?${query}`
}

export function languageFor(realm: Realm, user: RealmUser): string {
  const { locale, lang, language } = user.userMetadata
  const own = [locale, lang, language].find((each) => typeof each === 'string') as string | undefined
  const { languages, caller, rules } = realm
  return languages.named(caller.language) ?? languages.named(own) ?? rules.language
}

/** Into the outbox, in the transaction that makes its token: there is a mail if and only if there is a token. */
export async function write(realm: Realm, store: RealmStore, message: Message): Promise<void> {
  const { kind, user, address, sent, type, redirectTo, newEmail } = message
  const now = realm.now()
  const { rules } = realm
  if (rules.hooks?.send_email !== undefined) return hookMail(realm, store, message)
  const text = compose(realm.languages.mail(kind, languageFor(realm, user)), rules.templates?.[kind], {
    ConfirmationURL: linkOf(realm, type, sent.token, redirectTo),
    Token: sent.otp,
    TokenHash: sent.token,
    SiteURL: rules.site_url ?? realm.url,
    RedirectTo: redirectOf(rules, realm.url, redirectTo),
    Email: user.email ?? address,
    NewEmail: newEmail ?? '',
    SendingTo: address,
    Data: user.userMetadata,
  })
  await store.insertMail({
    id: uuid(),
    userId: user.id,
    kind,
    recipient: address,
    ...text,
    state: 'waiting',
    attempts: 0,
    dueAt: now,
    expiresAt: now + rules.otp_expiry * 1000,
    createdAt: now,
    sentAt: null,
    lastError: null,
  })
}

const NO_TOKEN: Sent = { token: '', otp: '' }

/** Where the project's own code sends: it gets the secrets of the mail, at once as a function of the database, from the outbox as a URL. */
async function hookMail(realm: Realm, store: RealmStore, message: Message): Promise<void> {
  const { user, address, sent, type, redirectTo, newEmail, current } = message
  const now = realm.now()
  const payload: Json = {
    user: { ...userFor(user), new_email: newEmail ?? '' },
    email_data: {
      // As GoTrue has it: of two addresses, `token` and `token_hash_new` are the present one's.
      token: (current ?? sent).otp,
      token_hash: sent.token,
      token_new: current ? sent.otp : '',
      token_hash_new: (current ?? NO_TOKEN).token,
      redirect_to: redirectOf(realm.rules, realm.url, redirectTo),
      email_action_type: type,
      site_url: realm.rules.site_url ?? realm.url,
    },
  }
  if ((await hookInside(realm, store, 'send_email', payload)) !== null) return
  await store.insertMail({
    id: uuid(),
    userId: user.id,
    kind: 'send_email',
    recipient: address,
    subject: type,
    html: JSON.stringify(withMetadata(realm, 'send_email', payload)),
    text: '',
    state: 'waiting',
    attempts: 0,
    dueAt: now,
    expiresAt: now + realm.rules.otp_expiry * 1000,
    createdAt: now,
    sentAt: null,
    lastError: null,
  })
}
