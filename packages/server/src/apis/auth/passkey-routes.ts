import type { FastifyInstance } from 'fastify'
import { demandCaptcha } from '../../realms/auth/captcha.ts'
import {
  finishAuthentication,
  finishRegistration,
  listPasskeys,
  type Offered,
  passkeysOfUser,
  removePasskey,
  removePasskeyOfUser,
  renamePasskey,
  startAuthentication,
  startRegistration,
} from '../../realms/passkeys/passkeys.ts'
import type { Passkey } from '../../realms/store/types.ts'
import { bodyOf, holderOf, paramOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { sessionView } from './view.ts'

const USE = { config: { action: 'auth:use', resource: 'project' } } as const
const ADMINISTER = { config: { action: 'auth:administer', resource: 'project' } } as const

const offeredView = ({ challengeId, options, expiresAt }: Offered) => ({
  challenge_id: challengeId,
  options,
  expires_at: Math.floor(expiresAt / 1000),
})

/** Never the public key: nobody needs it. */
const passkeyView = ({ id, name, createdAt, lastUsedAt }: Passkey) => ({
  id,
  friendly_name: name,
  created_at: new Date(createdAt).toISOString(),
  ...(lastUsedAt === null ? {} : { last_used_at: new Date(lastUsedAt).toISOString() }),
})

export function passkeyRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'))

  app.post('/passkeys/registration/options', USE, async (request) =>
    offeredView(await startRegistration(realmOf(options, request), holderOf(options, request))),
  )

  app.post('/passkeys/registration/verify', USE, async (request) => {
    const { challenge_id, credential } = bodyOf(request)
    const given = { challengeId: challenge_id, credential }
    return passkeyView(await finishRegistration(realmOf(options, request), holderOf(options, request), given))
  })

  app.post('/passkeys/authentication/options', USE, async (request) => {
    const realm = realmOf(options, request)
    await demandCaptcha(realm, bodyOf(request))
    return offeredView(await startAuthentication(realm))
  })

  app.post('/passkeys/authentication/verify', USE, async (request) => {
    const { challenge_id, credential } = bodyOf(request)
    return sessionView(await finishAuthentication(realmOf(options, request), { challengeId: challenge_id, credential }))
  })

  app.get('/passkeys', USE, async (request) => (await listPasskeys(realmOf(options, request), holderOf(options, request))).map(passkeyView))

  app.patch('/passkeys/:id', USE, async (request) => {
    const { friendly_name } = bodyOf(request)
    return passkeyView(await renamePasskey(realmOf(options, request), holderOf(options, request), paramOf(request, 'id'), friendly_name))
  })

  app.delete('/passkeys/:id', USE, async (request, reply) => {
    await removePasskey(realmOf(options, request), holderOf(options, request), paramOf(request, 'id'))
    return reply.code(204).send()
  })
}

export function passkeyAdminRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.get('/admin/users/:user/passkeys', ADMINISTER, async (request) =>
    (await passkeysOfUser(realmOf(options, request), paramOf(request, 'user'))).map(passkeyView),
  )

  app.delete('/admin/users/:user/passkeys/:id', ADMINISTER, async (request, reply) => {
    await removePasskeyOfUser(realmOf(options, request), paramOf(request, 'user'), paramOf(request, 'id'))
    return reply.code(204).send()
  })
}
