import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { demandCaptcha } from '../../realms/auth/captcha.ts'
import { recover, resend, sendOtp } from '../../realms/auth/otp.ts'
import { resendPhone, sendPhoneOtp } from '../../realms/auth/phones.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import { followLink, verifyToken } from '../../realms/auth/verify.ts'
import { bodyOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { sessionView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Links of mails are opened by browsers, which have no key. */
const PUBLIC = { config: { action: 'public' } } as const

const provided = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

/** Links and codes in mails: asking for them, and using them. */
export function linkRoutes(app: FastifyInstance, options: AuthOptions): void {
  const wish = (request: FastifyRequest) => {
    const body = bodyOf(request)
    return { email: body.email, redirectTo: redirectOf(request), pkce: challengeOf(body) }
  }
  const otp = async (request: FastifyRequest) => {
    const body = bodyOf(request)
    const realm = realmOf(options, request)
    await demandCaptcha(realm, body)
    const { phone, email, data, channel } = body
    const createUser = body.create_user !== false
    if (provided(phone) && provided(email))
      throw fail('auth_validation_failed', { reason: 'Only an email address or phone number should be provided' })
    if (provided(phone)) return { message_id: await sendPhoneOtp(realm, { phone, data, createUser, channel }) }
    if (!provided(email)) throw fail('auth_validation_failed', { reason: 'One of email or phone must be set' })
    await sendOtp(realm, { ...wish(request), data, createUser })
    return {}
  }
  app.post('/otp', USE, otp)
  app.post('/magiclink', USE, otp)
  app.post('/recover', USE, async (request) => {
    const realm = realmOf(options, request)
    await demandCaptcha(realm, bodyOf(request))
    await recover(realm, wish(request))
    return {}
  })
  app.post('/resend', USE, async (request) => {
    const body = bodyOf(request)
    const realm = realmOf(options, request)
    await demandCaptcha(realm, body)
    const { type, phone, channel } = body
    if (type === 'sms' || type === 'phone_change') return { message_id: await resendPhone(realm, type, { phone, channel }) }
    await resend(realm, type, wish(request))
    return {}
  })

  app.post('/verify', USE, async (request, reply) => {
    const body = bodyOf(request)
    reply.header('cache-control', 'no-store')
    const { type, token, token_hash, email, phone } = body
    const done = await verifyToken(realmOf(options, request), { type, token, tokenHash: token_hash, email, phone })
    return 'grant' in done ? sessionView(done.grant) : { msg: done.half.message, code: '200' }
  })

  app.get('/verify', PUBLIC, async (request, reply) => {
    const token = queryOf(request, 'token') || queryOf(request, 'token_hash')
    const type = queryOf(request, 'type')
    if (!token || !type) throw fail('auth_validation_failed', { reason: 'Verify requires a token or a token hash, and a type' })
    const target = await followLink(realmOf(options, request), { token, type, redirectTo: redirectOf(request) })
    reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
    return reply.redirect(target, 303)
  })
}
