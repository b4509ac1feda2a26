import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import { demandCaptcha } from '../../realms/auth/captcha.ts'
import { exchangeCode } from '../../realms/auth/exchange.ts'
import { signUpByPhone } from '../../realms/auth/phones.ts'
import { challengeOf } from '../../realms/auth/pkce.ts'
import { refresh } from '../../realms/auth/refresh.ts'
import { signInByPassword } from '../../realms/auth/sign-in.ts'
import { signInAnonymously, signUp } from '../../realms/auth/sign-up.ts'
import { holderOf, paramsOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { carriedView, sessionView, userView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const

const provided = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

export function signInRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.post('/signup', USE, async (request, reply) => {
    const realm = realmOf(options, request)
    const body = paramsOf(request)
    reply.header('cache-control', 'no-store')
    await demandCaptcha(realm, body)
    if (provided(body.phone) && !provided(body.email)) {
      const { phone, password, data, channel, code_challenge } = body
      const made = await signUpByPhone(realm, { phone, password, data, channel, pkce: provided(code_challenge) })
      return 'grant' in made ? sessionView(made.grant) : userView(made.person)
    }
    if (!provided(body.email)) return sessionView(await signInAnonymously(realm, body.data))
    const made = await signUp(realm, {
      email: body.email,
      phone: body.phone,
      password: body.password,
      data: body.data,
      redirectTo: redirectOf(request),
      pkce: challengeOf(body),
    })
    return 'grant' in made ? sessionView(made.grant) : userView(made.person)
  })

  app.post('/token', USE, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const grant = GRANTS[queryOf(request, 'grant_type') ?? '']
    if (!grant) throw fail('auth_unsupported_grant_type')
    return grant(options, request, reply)
  })
}

type GrantType = (options: AuthOptions, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

const GRANTS: Readonly<Record<string, GrantType | undefined>> = {
  async password(options, request) {
    const { email, phone, password } = paramsOf(request)
    const realm = realmOf(options, request)
    await demandCaptcha(realm, paramsOf(request))
    const { grant, weakness } = await signInByPassword(realm, { email, phone, password })
    return sessionView(grant, weakness)
  },
  async refresh_token(options, request) {
    return sessionView(await refresh(realmOf(options, request), paramsOf(request).refresh_token))
  },
  async pkce(options, request) {
    const { auth_code, code_verifier } = paramsOf(request)
    const { grant, carried } = await exchangeCode(realmOf(options, request), auth_code, code_verifier)
    return { ...sessionView(grant), ...carriedView(carried) }
  },
  async id_token(options, request) {
    const body = paramsOf(request)
    const realm = realmOf(options, request)
    await demandCaptcha(realm, body)
    const { provider, id_token, access_token, nonce, link_identity } = body
    const { signInByIdToken } = await import('../../realms/federated/id-token.ts')
    const holder = link_identity === true ? holderOf(options, request) : null
    return sessionView(await signInByIdToken(realm, { provider, idToken: id_token, accessToken: access_token, nonce, holder }))
  },
  async web3() {
    throw fail('auth_web3_provider_disabled')
  },
}
