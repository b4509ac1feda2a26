import type { Smtp } from '@sovrabase/contract/auth'
import { isSovraError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Mail, RealmStore } from '../store/types.ts'
import type { Letter } from './smtp.ts'

export interface PostOptions {
  /** One transaction over a project's people, woken if need be; undefined: the project is gone. */
  transact<R>(ref: string, fn: (store: RealmStore) => Promise<R>): Promise<R>
  /** The mail server of a project; null: none is set, and mails stay in the outbox. */
  smtp(ref: string): Promise<Smtp | null>
  send(smtp: Smtp, letter: Letter): Promise<string>
  readonly log: Log
  readonly now?: () => number
}

/** Sends what waits in the outboxes of projects, and tidies what their realms need no more. */
export interface Post {
  /** Something may wait there. */
  poke(ref: string): void
  /** The project is in use: once an hour what is over is removed. */
  seen(ref: string): void
  /** Takes nothing more and waits for what is being sent. */
  close(): Promise<void>
}

const PAGE = 10
/** ms after which a mail that its sender never finished is taken again. */
const LEASE = 120_000
const ATTEMPTS = 8
const BACKOFF = 15_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

export function makePost({ transact, smtp, send, log, now = Date.now }: PostOptions): Post {
  const running = new Map<string, Promise<void>>()
  const again = new Set<string>()
  const timers = new Map<string, NodeJS.Timeout>()
  const swept = new Map<string, number>()
  const told = new Set<string>()
  let open = true

  async function deliver(ref: string, server: Smtp, mail: Mail): Promise<void> {
    try {
      await send(server, { to: mail.recipient, subject: mail.subject, html: mail.html, text: mail.text })
      // What was sent is kept without its secrets: that it went, not what it said.
      await transact(ref, (store) => store.updateMail(mail.id, { state: 'sent', sentAt: now(), lastError: null, html: '', text: '' }))
    } catch (error) {
      const last = mail.attempts >= ATTEMPTS
      const lastError = isSovraError(error) ? error.message : 'internal'
      const dueAt = now() + BACKOFF * 2 ** (mail.attempts - 1)
      log.warn({ project: ref, code: isSovraError(error) ? error.code : 'internal', attempt: mail.attempts }, 'a mail was not taken')
      await transact(ref, (store) => store.updateMail(mail.id, { state: last ? 'failed' : 'waiting', dueAt, lastError }))
    }
  }

  async function empty(ref: string): Promise<void> {
    const server = await smtp(ref)
    if (!server) {
      if (!told.has(ref)) log.warn({ project: ref, code: 'mail_not_configured' }, 'mails wait in the outbox: no SMTP server is set')
      told.add(ref)
      return
    }
    told.delete(ref)
    for (;;) {
      const mails = await transact(ref, (store) => store.claimMails(now(), now() + LEASE, PAGE))
      for (const mail of mails) await deliver(ref, server, mail)
      if (mails.length === 0 || !open) break
    }
    const next = await transact(ref, (store) => store.nextMail(now()))
    if (next !== null && open) later(ref, Math.max(1_000, next - now()))
  }

  function later(ref: string, wait: number): void {
    clearTimeout(timers.get(ref))
    const timer = setTimeout(() => poke(ref), wait)
    timer.unref()
    timers.set(ref, timer)
  }

  function poke(ref: string): void {
    if (!open) return
    if (running.has(ref)) {
      again.add(ref)
      return
    }
    const run = empty(ref)
      .catch((error: unknown) => log.warn({ err: error, project: ref }, 'the outbox could not be emptied'))
      .finally(() => {
        running.delete(ref)
        if (again.delete(ref)) poke(ref)
      })
    running.set(ref, run)
  }

  return {
    poke,
    seen(ref) {
      const at = now()
      if ((swept.get(ref) ?? 0) + HOUR > at || !open) return
      swept.set(ref, at)
      const before = { tokens: at - DAY, flows: at - DAY, challenges: at - HOUR, mails: at - 7 * DAY }
      transact(ref, (store) => store.sweep(before, at)).catch((error: unknown) =>
        log.warn({ err: error, project: ref }, 'what is over could not be removed'),
      )
    },
    async close() {
      open = false
      for (const timer of timers.values()) clearTimeout(timer)
      await Promise.allSettled(running.values())
    },
  }
}
