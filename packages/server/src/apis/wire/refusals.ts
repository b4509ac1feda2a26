import { wordingOf } from '@sovrabase/contract/wording'
import type { Link } from '../../runtime/entry.ts'
import type { Refusal } from './messages.ts'

/** Why an open session ends that its client did not end: at sleep, say, in the words of the protocol. */
export const ENDINGS: Readonly<Record<Parameters<Link['end']>[0], Refusal>> = {
  sleep: {
    code: '57P01',
    message: 'the project went to sleep; reconnect to wake it',
    hint: 'An idle session does not keep a project awake; a setting of the project changes that.',
  },
  crash: { code: '57P02', message: 'the cluster of the project ended unexpectedly', hint: 'Connect again: that starts it.' },
  deleted: { code: '57P01', message: 'the project was deleted' },
  shutdown: { code: '57P01', message: 'the server is shutting down', hint: 'Connect again later.' },
}

export const serverFull: Refusal = {
  code: '53300',
  message: 'too many connections to this server',
  hint: 'Close some, or raise limits.wire.connections.',
}

export const unreachable: Refusal = { code: '57P03', message: 'the project cannot be reached now', hint: 'Try again.' }

export const overBudget = (seconds: number): Refusal => ({
  code: '28000',
  message: 'too many failed sign-ins from this address',
  hint: `Try again in ${Math.ceil(seconds / 60)} min, with the user and password of the connection string.`,
})

export const projectFull = (limit: number): Refusal => ({
  code: '53300',
  message: `too many connections to this project (limit ${limit})`,
  hint: 'Close idle ones, use a smaller pool, or raise the limit of the project.',
})

/** What a cluster knows of its disk quota; nothing where the engine has none. */
export interface Quota {
  readonly full?: boolean
  readonly spec?: { readonly disk: number }
}

/** The cluster itself can only say that its transactions are read-only, not why. */
export const overQuota = (seen: Quota | undefined): Refusal | null =>
  seen?.full === true ? { code: '53100', ...wordingOf('disk_quota_exceeded', { limit: seen.spec?.disk ?? 0 }) } : null
