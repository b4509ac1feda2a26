import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { demandCaptcha } from '../../realms/auth/captcha.ts'
import { recover, resend, sendOtp } from '../../realms/auth/otp.ts'
import { resendPhone, sendPhoneOtp } from '../../realms/auth/phones.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import { followLink, verifyToken } from '../../realms/auth/verify.ts'
import { type Body, paramsOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { sessionView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Links of mails are opened by browsers, which have no key. */
const PUBLIC = { config: { action: 'public' } } as const

const provided = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

const invalid = (reason: string) => fail('auth_validation_failed', { reason })

type Resent = 'signup' | 'email_change' | 'sms' | 'phone_change'
const RESENT: readonly unknown[] = ['signup', 'email_change', 'sms', 'phone_change']

/** What is to be sent once more. Throws `auth_validation_failed` where the body does not say to whom. */
function resendable({ type, email, phone }: Body): Resent {
  if (!RESENT.includes(type)) throw invalid('Missing one of these types: signup, email_change, sms, phone_change')
  if (type === 'signup' && !provided(email)) throw invalid('Type provided requires an email address')
  if (type === 'sms' && !provided(phone)) throw invalid('Type provided requires a phone number')
  if (provided(email) && provided(phone)) throw invalid('Only an email address or phone number should be provided.')
  if (!provided(email) && !provided(phone)) throw invalid('Missing email address or phone number')
  return type as Resent
}

/** Links and codes in mails: asking for them, and using them. */
export function linkRoutes(app: FastifyInstance, options: AuthOptions): void {
  const wish = (request: FastifyRequest) => {
    const body = paramsOf(request)
    return { email: body.email, redirectTo: redirectOf(request), pkce: challengeOf(body) }
  }
  const otp = async (request: FastifyRequest) => {
    const body = paramsOf(request)
    const realm = realmOf(options, request)
    await demandCaptcha(realm, body)
    const { phone, email, data, channel } = body
    const createUser = body.create_user !== false
    if (provided(phone) && provided(email)) throw invalid('Only an email address or phone number should be provided')
    if (provided(email) && provided(channel)) throw invalid('Channel should only be specified with Phone OTP')
    if (provided(phone)) return { message_id: await sendPhoneOtp(realm, { phone, data, createUser, channel }) }
    if (!provided(email)) throw invalid('One of email or phone must be set')
    await sendOtp(realm, { ...wish(request), data, createUser })
    return {}
  }
  app.post('/otp', USE, otp)
  app.post('/magiclink', USE, (request) => {
    if (!provided(paramsOf(request).email)) throw fail('auth_unprocessable', { reason: 'Password recovery requires an email' })
    return otp(request)
  })
  app.post('/recover', USE, async (request) => {
    const realm = realmOf(options, request)
    await demandCaptcha(realm, paramsOf(request))
    await recover(realm, wish(request))
    return {}
  })
  app.post('/resend', USE, async (request) => {
    const body = paramsOf(request)
    const realm = realmOf(options, request)
    await demandCaptcha(realm, body)
    const { phone, channel } = body
    const type = resendable(body)
    if (type === 'sms' || type === 'phone_change') return { message_id: await resendPhone(realm, type, { phone, channel }) }
    await resend(realm, type, wish(request))
    return {}
  })

  app.post('/verify', USE, async (request, reply) => {
    const body = paramsOf(request)
    reply.header('cache-control', 'no-store')
    const { type, token, token_hash: tokenHash, email, phone, redirect_to: redirectTo } = body
    const done = await verifyToken(realmOf(options, request), { type, token, tokenHash, email, phone, redirectTo })
    return 'grant' in done ? sessionView(done.grant) : { msg: done.half.message, code: '200' }
  })

  app.get('/verify', PUBLIC, async (request, reply) => {
    const token = queryOf(request, 'token') || queryOf(request, 'token_hash')
    const type = queryOf(request, 'type')
    if (!type) throw invalid('Verify requires a verification type')
    if (!token) throw invalid('Verify requires a token or a token hash')
    const target = await followLink(realmOf(options, request), { token, type, redirectTo: redirectOf(request) })
    reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
    return reply.redirect(target, 303)
  })
}
