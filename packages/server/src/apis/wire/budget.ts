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

/** Failed sign-ins, by address. */
export class Budget {
  readonly #accounts = new Map<string, Account>()
  readonly #limit: number
  readonly #window: number
  readonly #now: () => number

  constructor({ limit, window, now }: BudgetOptions) {
    this.#limit = limit
    this.#window = window
    this.#now = now
  }

  /**
   * Waits while the attempts under way could use up what is left, so that no burst gets more failures than the limit and a pool of good
   * connections is only put in a row. Null: the budget is spent, or the signal aborted.
   */
  async enter(ip: string, subject: string, signal: AbortSignal): Promise<Ticket | null> {
    const account = this.#accountOf(ip)
    while (!this.#spent(account) && !signal.aborted) {
      if (this.#limit === 0 || account.inside < this.#left(account)) return this.#ticket(account, subject)
      await turn(account, signal)
    }
    return null
  }

  /** Whole seconds until an address that is over its budget may try again. */
  retryAfter(ip: string): number {
    const account = this.#accounts.get(budgetKey(ip))
    const oldest = account && this.#spent(account) ? account.failures[0] : undefined
    return oldest ? Math.max(1, Math.ceil((oldest.at + this.#window - this.#now()) / 1000)) : 0
  }

  #left(account: Account): number {
    const since = this.#now() - this.#window
    if (account.failures[0] && account.failures[0].at <= since) account.failures = account.failures.filter((failure) => failure.at > since)
    return this.#limit - account.failures.length
  }

  #spent(account: Account): boolean {
    return this.#limit > 0 && this.#left(account) <= 0
  }

  #accountOf(ip: string): Account {
    const key = budgetKey(ip)
    const known = this.#accounts.get(key)
    if (known) return known
    if (this.#accounts.size >= MAX_ADDRESSES) this.#forgetOne()
    const account: Account = { inside: 0, failures: [], waiting: new Set() }
    this.#accounts.set(key, account)
    return account
  }

  /** One without failures if there is one near, else the oldest. */
  #forgetOne(): void {
    let oldest: string | undefined
    for (const [key, account] of this.#accounts) {
      if (account.inside > 0 || account.waiting.size > 0) continue
      oldest ??= key
      if (this.#left(account) === this.#limit) {
        oldest = key
        break
      }
    }
    if (oldest !== undefined) this.#accounts.delete(oldest)
  }

  #ticket(account: Account, subject: string): Ticket {
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
      failed: (guessed) => end(() => account.failures.push({ at: this.#now(), subject, guessed })),
      dropped: () => end(() => {}),
    }
  }
}

/** Until an attempt of this address ends, or the signal aborts. */
function turn(account: Account, signal: AbortSignal): Promise<void> {
  return new Promise<void>((resolve) => {
    const go = () => {
      account.waiting.delete(go)
      signal.removeEventListener('abort', go)
      resolve()
    }
    account.waiting.add(go)
    signal.addEventListener('abort', go)
  })
}
