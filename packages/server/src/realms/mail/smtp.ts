import { isIP } from 'node:net'
import { fail } from '../../base/errors.ts'
import type { Outbound } from '../../base/outbound.ts'
import type { Sender } from './inherit.ts'

export interface Letter {
  readonly to: string
  readonly subject: string
  readonly html: string
  readonly text: string
}

const SUBMISSION = 587
const SUBMISSIONS = 465
const PATIENCE = 20_000

/** What a server said, without our own words around it. */
function reasonOf(error: unknown): string {
  const { response, message, code } = Object(error) as { response?: unknown; message?: unknown; code?: unknown }
  return String(response ?? message ?? code ?? 'it did not answer').slice(0, 300)
}

/**
 * Hands one mail to the server, on a connection that the outbound rule has checked. Answers what the server said; throws `mail_refused`.
 * `ca`: further certificate authorities, PEM.
 */
export async function send(outbound: Outbound, smtp: Sender, letter: Letter, ca?: readonly string[]): Promise<string> {
  const tls = smtp.tls ?? (smtp.port === SUBMISSIONS ? 'implicit' : 'starttls')
  const port = smtp.port ?? (tls === 'implicit' ? SUBMISSIONS : SUBMISSION)
  const { createTransport } = await import('nodemailer')
  try {
    const socket = await outbound.connect(smtp.host, port, { tls: tls === 'implicit', timeout: PATIENCE })
    const transport = createTransport({
      connection: socket,
      secured: tls === 'implicit',
      host: smtp.host,
      port,
      secure: tls === 'implicit',
      requireTLS: tls === 'starttls',
      ignoreTLS: tls === 'none',
      ...(smtp.user ? { auth: { user: smtp.user, pass: smtp.password ?? '' } } : {}),
      tls: { ...(isIP(smtp.host) === 0 ? { servername: smtp.host } : {}), ...(ca ? { ca: [...ca] } : {}) },
      greetingTimeout: PATIENCE,
      socketTimeout: PATIENCE,
      disableFileAccess: true,
      disableUrlAccess: true,
    } as never)
    try {
      const sent = (await transport.sendMail({
        from: { name: smtp.from_name ?? '', address: smtp.from },
        to: { name: '', address: letter.to },
        ...(smtp.reply_to === undefined ? {} : { replyTo: smtp.reply_to }),
        subject: letter.subject,
        html: letter.html,
        text: letter.text,
        headers: { 'auto-submitted': 'auto-generated' },
      })) as { response?: string }
      return sent.response ?? ''
    } finally {
      transport.close()
      socket.destroy()
    }
  } catch (cause) {
    throw fail('mail_refused', { reason: reasonOf(cause) }, { cause })
  }
}
