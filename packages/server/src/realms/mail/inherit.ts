import type { Smtp } from '@sovrabase/contract/auth'

/** A mail server with its sender: what can send. */
export type Sender = Smtp & Required<Pick<Smtp, 'host' | 'from'>>

const SENDER = ['from', 'from_name', 'reply_to'] as const

/**
 * The server in force: the nearest that names one, from the platform's over the organisation's to the project's own. Whoever names none may still
 * say who its mails are from: sender, name and Reply-To of the nearest that says them, on the server of another.
 */
export function senderOf(chain: readonly (Smtp | undefined)[]): Sender | null {
  let found: Smtp = {}
  for (const smtp of chain) {
    if (smtp === undefined) continue
    if (smtp.host !== undefined) found = smtp
    else for (const name of SENDER) if (smtp[name] !== undefined) found = { ...found, [name]: smtp[name] }
  }
  return found.host === undefined || found.from === undefined ? null : { ...found, host: found.host, from: found.from }
}
