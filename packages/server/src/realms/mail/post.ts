import { MAIL_KINDS } from '@sovrabase/contract/plain'
import { isSovraError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Keeping, Mail, RealmStore } from '../store/types.ts'

/** Hands one message on; rejects when it was not taken. */
export type Carrier = (mail: Mail) => Promise<unknown>

/** Who takes what of an outbox; what has no carrier waits there. */
export interface Carriers {
  readonly mail: Carrier | null
  readonly sms: Carrier | null
  /** Calls of hooks by URL; the kind of the message is the hook's name. */
  readonly hook: Carrier | null
}

export interface PostOptions {
  /** One transaction over a realm's people, a project's woken if need be. */
  transact<R>(ref: string, fn: (store: RealmStore) => Promise<R>): Promise<R>
  carriers(ref: string): Promise<Carriers>
  /** What the realm says of how long things are kept. */
  keeping(ref: string): Promise<Keeping>
  /** What waits in an outbox when it was looked at, where that is another than before: `due` null: nobody takes it. */
  note?(outbox: { ref: string; waiting: number; due: number | null }): Promise<void>
  readonly log: Log
  readonly now?: () => number
}

/** Sends what waits in the outboxes of realms, and tidies what they need no more. */
export interface Post {
  /** Something may wait there. */
  poke(ref: string): void
  /** Something waits there until then. */
  remind(ref: string, at: number): void
  /** The realm is in use: what waited when the server ended goes out, and once an hour what is over is removed. */
  seen(ref: string): void
  /** Takes nothing more and waits for what is being sent. */
  close(): Promise<void>
}

const KINDS: { readonly [K in keyof Carriers]: readonly string[] } = { mail: MAIL_KINDS, sms: ['sms'], hook: ['send_email', 'send_sms'] }
const PAGE = 10
/** ms after which a message that its sender never finished is taken again. */
const LEASE = 120_000
const ATTEMPTS = 8
const BACKOFF = 15_000
/** Codes in text messages live for minutes. */
const BACKOFF_SMS = 3_000
const HOUR = 3_600_000
const DAY = 24 * HOUR
const LONGEST = DAY

const carrierOf = (carriers: Carriers, kind: string): Carrier | null =>
  KINDS.sms.includes(kind) ? carriers.sms : KINDS.hook.includes(kind) ? carriers.hook : carriers.mail

export const makePost = (options: PostOptions): Post => new Outboxes(options)

class Outboxes implements Post {
  readonly #options: PostOptions
  readonly #now: () => number
  readonly #running = new Map<string, Promise<void>>()
  readonly #again = new Set<string>()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #tidying = new Set<Promise<void>>()
  readonly #swept = new Map<string, number>()
  /** What was noted of each. */
  readonly #noted = new Map<string, string>()
  #open = true

  constructor(options: PostOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  #update(ref: string, id: string, patch: Parameters<RealmStore['updateMail']>[1]): Promise<void> {
    return this.#options.transact(ref, (store) => store.updateMail(id, patch))
  }

  async #deliver(ref: string, carry: Carrier, mail: Mail): Promise<void> {
    try {
      await carry(mail)
    } catch (error) {
      const last = mail.attempts >= ATTEMPTS
      const code = isSovraError(error) ? error.code : 'internal'
      const lastError = isSovraError(error) ? error.message : 'internal'
      const dueAt = this.#now() + (KINDS.mail.includes(mail.kind) ? BACKOFF : BACKOFF_SMS) * 2 ** (mail.attempts - 1)
      this.#options.log.warn({ project: ref, code, attempt: mail.attempts, kind: mail.kind }, 'a message was not taken')
      return this.#update(ref, mail.id, { state: last ? 'failed' : 'waiting', dueAt, lastError })
    }
    // What was sent is kept without its secrets: that it went, not what it said.
    await this.#update(ref, mail.id, { state: 'sent', sentAt: this.#now(), lastError: null, html: '', text: '' })
  }

  async #note(ref: string, waiting: number, due: number | null): Promise<void> {
    const text = waiting === 0 ? '' : `${waiting} ${due}`
    if ((this.#noted.get(ref) ?? '') === text && this.#noted.has(ref)) return
    this.#noted.set(ref, text)
    await this.#options.note?.({ ref, waiting, due })
    if (waiting > 0 && due === null)
      this.#options.log.warn({ project: ref, code: 'mail_not_configured', waiting }, `mail_not_configured, ${waiting} waiting`)
  }

  async #empty(ref: string): Promise<void> {
    const { transact, carriers } = this.#options
    const now = this.#now
    const by = await carriers(ref)
    const kinds = (Object.keys(KINDS) as (keyof Carriers)[]).flatMap((name) => (by[name] === null ? [] : KINDS[name]))
    while (kinds.length > 0) {
      const mails = await transact(ref, (store) => store.claimMails(now(), now() + LEASE, PAGE, kinds))
      for (const mail of mails) await this.#deliver(ref, carrierOf(by, mail.kind)!, mail)
      if (mails.length === 0 || !this.#open) break
    }
    const [next, left] = await transact(ref, async (store) => [
      await store.nextMail(now(), kinds),
      (await store.countMails('waiting', now())) + (await store.countMails('sending', now())),
    ])
    await this.#note(ref, left, next)
    if (next !== null && this.#open) this.#later(ref, Math.max(1_000, next - now()))
  }

  remind(ref: string, at: number): void {
    if (this.#open) this.#later(ref, Math.max(1_000, at - this.#now()))
  }

  #later(ref: string, wait: number): void {
    clearTimeout(this.#timers.get(ref))
    const timer = setTimeout(() => this.poke(ref), Math.min(wait, LONGEST))
    timer.unref()
    this.#timers.set(ref, timer)
  }

  poke(ref: string): void {
    if (!this.#open) return
    if (this.#running.has(ref)) {
      this.#again.add(ref)
      return
    }
    const run = this.#empty(ref)
      .catch((error: unknown) => this.#options.log.warn({ err: error, project: ref }, 'the outbox could not be emptied'))
      .finally(() => {
        this.#running.delete(ref)
        if (this.#again.delete(ref)) this.poke(ref)
      })
    this.#running.set(ref, run)
  }

  seen(ref: string): void {
    const at = this.#now()
    if (!this.#swept.has(ref)) this.poke(ref)
    if ((this.#swept.get(ref) ?? 0) + HOUR > at || !this.#open) return
    this.#swept.set(ref, at)
    const tidying = this.#tidy(ref)
      .catch((error: unknown) => this.#options.log.warn({ err: error, project: ref }, 'what is over could not be removed'))
      .finally(() => this.#tidying.delete(tidying))
    this.#tidying.add(tidying)
  }

  /** A page at a time, each a transaction of its own: a sign-in waits for none of them long. */
  async #tidy(ref: string): Promise<void> {
    const keeping = await this.#options.keeping(ref)
    let more = true
    while (more && this.#open) more = await this.#options.transact(ref, (store) => store.sweep(keeping, this.#now()))
  }

  async close(): Promise<void> {
    this.#open = false
    for (const timer of this.#timers.values()) clearTimeout(timer)
    await Promise.allSettled([...this.#running.values(), ...this.#tidying])
  }
}
