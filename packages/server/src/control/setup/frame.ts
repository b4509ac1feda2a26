import type { FastifyReply, FastifyRequest } from 'fastify'
import { isSovraError, type SovraError } from '../../base/errors.ts'
import { setSessionCookie } from '../../gateway/cookie.ts'
import { pageHeaders } from '../../gateway/headers.ts'
import type { MemberSession } from '../../realms/platform.ts'
import type { Control } from '../context.ts'
import { type Field, page } from './html.ts'
import { type Texts, textsFor } from './texts.ts'

/** Of every route here: whoever has the link. */
export const config = { action: 'public' } as const

export const account = (t: Texts, email = ''): Field[] => [
  { name: 'email', label: t.email, type: 'email', autocomplete: 'username', value: email },
  { name: 'password', label: t.password, type: 'password', autocomplete: 'new-password', hint: t.passwordHint },
]

export const told = (t: Texts, error: SovraError): string => t.errors[error.code] ?? error.message

/** Errors that the person can mend in the form; with others the link itself is at fault. */
export const mendable = (error: unknown): error is SovraError =>
  isSovraError(error) && !['link_not_valid', 'setup_done', 'internal'].includes(error.code)

export const send = (reply: FastifyReply, html: string) => pageHeaders(reply).type('text/html; charset=utf-8').send(html)

/** The link is not good any more. */
export const over = (request: FastifyRequest, reply: FastifyReply) => {
  const { lang, t } = textsFor(request.headers['accept-language'])
  return send(reply.code(403), page(lang, t.linkOver, `<h1>${t.linkOver}</h1><p>${t.linkOverBody}</p>`))
}

export const signedIn = ({ addressing }: Control, reply: FastifyReply, session: MemberSession) =>
  setSessionCookie(reply, session.access_token, { secure: addressing.publicUrl().startsWith('https:'), maxAge: session.expires_in })
