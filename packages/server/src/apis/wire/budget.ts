import { budgetKey } from '../../base/proxies.ts'

const MAX_ADDRESSES = 10_000

/** One attempt to sign in, under way. Exactly one of its endings is called; later ones do nothing. */
export interface Ticket {
  /** The cluster said AuthenticationOk. */
  passed(): void
  /** It did not. `guessed`: a proof was sent; else the peer left before (psql asks for the password so, and comes again). */
  failed(guessed: boolean): void
  /** It failed for a reason of ours: does not count. */
  dropped(): void
}

export interface Budget {
  /**
   * Waits while the attempts under way could use up what is left, so that no burst gets more failures than the limit and a pool of good
   * connections is only put in a row. Null: the budget is spent, or the signal aborted.
   */
  enter(ip: string, subject: string, signal: AbortSignal): Promise<Ticket | null>
  /** Whole seconds until an address that is over its budget may try again. */
  retryAfter(ip: string): number
}

export interface BudgetOptions {
  /** Failed attempts in a window, by address (IPv6: by /64); 0: no limit. */
  readonly limit: number
  /** ms */
  readonly window: number
  readonly now: () => number
}

interface Failure {
  readonly at: number
  readonly subject: string
  readonly guessed: boolean
}

interface Account {
  inside: number
  failures: Failure[]
  readonly waiting: Set<() => void>
}

export function makeBudget({ limit, window, now }: BudgetOptions): Budget {
  const accounts = new Map<string, Account>()

  function left(account: Account): number {
    const since = now() - window
    if (account.failures[0] && account.failures[0].at <= since) account.failures = account.failures.filter((failure) => failure.at > since)
    return limit - account.failures.length
  }

  const spent = (account: Account) => limit > 0 && left(account) <= 0

  function accountOf(ip: string): Account {
    const key = budgetKey(ip)
    const known = accounts.get(key)
    if (known) return known
    if (accounts.size >= MAX_ADDRESSES) forgetOne()
    const account: Account = { inside: 0, failures: [], waiting: new Set() }
    accounts.set(key, account)
    return account
  }

  /** One without failures if there is one near, else the oldest. */
  function forgetOne(): void {
    let oldest: string | undefined
    for (const [key, account] of accounts) {
      if (account.inside > 0 || account.waiting.size > 0) continue
      oldest ??= key
      if (left(account) === limit) {
        oldest = key
        break
      }
    }
    if (oldest !== undefined) accounts.delete(oldest)
  }

  function ticket(account: Account, subject: string): Ticket {
    let open = true
    account.inside++
    const end = (change: () => void) => {
      if (!open) return
      open = false
      account.inside--
      change()
      for (const waiter of [...account.waiting]) waiter()
    }
    return {
      passed: () =>
        end(() => {
          account.failures = account.failures.filter((failure) => failure.guessed || failure.subject !== subject)
        }),
      failed: (guessed) => end(() => account.failures.push({ at: now(), subject, guessed })),
      dropped: () => end(() => {}),
    }
  }

  return {
    async enter(ip, subject, signal) {
      const account = accountOf(ip)
      while (!spent(account) && !signal.aborted) {
        if (limit === 0 || account.inside < left(account)) return ticket(account, subject)
        await new Promise<void>((resolve) => {
          const go = () => {
            account.waiting.delete(go)
            signal.removeEventListener('abort', go)
            resolve()
          }
          account.waiting.add(go)
          signal.addEventListener('abort', go)
        })
      }
      return null
    },
    retryAfter(ip) {
      const account = accounts.get(budgetKey(ip))
      const oldest = account && spent(account) ? account.failures[0] : undefined
      return oldest ? Math.max(1, Math.ceil((oldest.at + window - now()) / 1000)) : 0
    },
  }
}
