import type { FastifyInstance, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { demandCaptcha } from '../../realms/auth/captcha.ts'
import { recover, resend, sendOtp } from '../../realms/auth/otp.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import { followLink, verifyToken } from '../../realms/auth/verify.ts'
import { bodyOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { sessionView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
/** Links of mails are opened by browsers, which have no key. */
const PUBLIC = { config: { action: 'public' } } as const

const refusePhone = (body: Readonly<Record<string, unknown>>, reason: string): void => {
  if (body.phone !== undefined && body.phone !== null && body.phone !== '') throw fail('auth_phone_provider_disabled', { reason })
}

/** Links and codes in mails: asking for them, and using them. */
export function linkRoutes(app: FastifyInstance, options: AuthOptions): void {
  const wish = (request: FastifyRequest) => {
    const body = bodyOf(request)
    return { email: body.email, redirectTo: redirectOf(request), pkce: challengeOf(body) }
  }
  const otp = async (request: FastifyRequest) => {
    const body = bodyOf(request)
    refusePhone(body, 'Unsupported phone provider')
    const realm = realmOf(options, request)
    await demandCaptcha(realm, body)
    await sendOtp(realm, { ...wish(request), data: body.data, createUser: body.create_user !== false })
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
    await resend(realm, body.type, wish(request))
    return {}
  })

  app.post('/verify', USE, async (request, reply) => {
    const body = bodyOf(request)
    refusePhone(body, 'Phone logins are disabled')
    reply.header('cache-control', 'no-store')
    const { type, token, token_hash, email } = body
    const done = await verifyToken(realmOf(options, request), { type, token, tokenHash: token_hash, email })
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
