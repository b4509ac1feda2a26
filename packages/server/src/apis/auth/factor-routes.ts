import type { FastifyInstance, FastifyRequest } from 'fastify'
import { verifyFactor } from '../../realms/auth/factor-verify.ts'
import { challenge, enroll, unenroll } from '../../realms/auth/factors.ts'
import { dropRecoveryCodes, makeRecoveryCodes, recoveryStatus, useRecoveryCode } from '../../realms/auth/recovery-codes.ts'
import { bodyOf, holderOf, paramOf, paramsOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { sessionView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const

/** Second factors of the own account. */
export function factorRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'))

  app.post('/factors', USE, async (request) => {
    const { factor_type, friendly_name, issuer, phone } = paramsOf(request)
    const holder = holderOf(options, request)
    const { factor, qrCode, uri } = await enroll(realmOf(options, request), holder, {
      type: factor_type,
      name: friendly_name,
      issuer,
      phone,
    })
    return {
      id: factor.id,
      type: factor.type,
      friendly_name: factor.name ?? '',
      ...(factor.secret === null ? {} : { totp: { qr_code: qrCode, secret: factor.secret, uri } }),
      ...(factor.phone === null ? {} : { phone }),
    }
  })

  app.post('/factors/:id/challenge', USE, async (request) => {
    const made = await challenge(realmOf(options, request), holderOf(options, request), paramOf(request, 'id'), bodyOf(request).channel)
    const { id, type, expiresAt, webauthn } = made
    return { id, type, expires_at: Math.floor(expiresAt / 1000), ...(webauthn === null ? {} : { webauthn }) }
  })

  app.post('/factors/:id/verify', USE, async (request) => {
    const { challenge_id, code, webauthn } = paramsOf(request)
    const given = { challengeId: challenge_id, code, webauthn }
    return sessionView(await verifyFactor(realmOf(options, request), holderOf(options, request), paramOf(request, 'id'), given))
  })

  app.delete('/factors/:id', USE, async (request) => ({
    id: await unenroll(realmOf(options, request), holderOf(options, request), paramOf(request, 'id')),
  }))

  const recovery = { type: 'recovery_code' } as const
  const make = async (request: FastifyRequest) => ({
    ...(await makeRecoveryCodes(realmOf(options, request), holderOf(options, request))),
    ...recovery,
  })
  app.post('/factors/recovery-codes', USE, make)
  app.post('/factors/recovery-codes/regenerate', USE, make)

  app.get('/factors/recovery-codes', USE, async (request) => ({
    ...(await recoveryStatus(realmOf(options, request), holderOf(options, request))),
    ...recovery,
  }))

  app.delete('/factors/recovery-codes', USE, async (request) => ({
    id: await dropRecoveryCodes(realmOf(options, request), holderOf(options, request)),
  }))

  app.post('/factors/recovery-codes/verify', USE, async (request) =>
    sessionView(await useRecoveryCode(realmOf(options, request), holderOf(options, request), bodyOf(request).code)),
  )
}
