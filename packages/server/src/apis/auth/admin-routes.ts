import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fail } from '../../base/errors.ts'
import {
  auditLog,
  changeFactor,
  changeUser,
  createUser,
  deleteUser,
  listUsers,
  readUserById,
  removeFactor,
} from '../../realms/auth/admin.ts'
import { generateLink, invite } from '../../realms/auth/admin-links.ts'
import { endSessionOfUser, sessionsOfUser } from '../../realms/auth/sessions.ts'
import { bodyOf, pageOf, paramOf, paramsOf, queryOf, redirectOf } from './input.ts'
import type { AuthOptions } from './options.ts'
import { realmOf } from './realm.ts'
import { auditView, factorView, userSessionView, userView } from './view.ts'

const ADMINISTER = { config: { action: 'auth:administer', resource: 'project' } } as const

/** Pages as RFC 8288 links of the same list. Clients parse them for the number of the page, which they take for the first value there is. */
function paged(request: FastifyRequest, reply: FastifyReply, url: string, total: number): void {
  const { page, limit } = pageOf(request)
  const last = Math.ceil(total / limit)
  const others = new URLSearchParams(request.query as Record<string, string>)
  others.delete('page')
  others.set('per_page', String(limit))
  const link = (to: number, rel: string) => `<${url}?page=${to}&${others}>; rel="${rel}"`
  const links = [...(page < last ? [link(page + 1, 'next')] : []), link(last, 'last')]
  reply.header('x-total-count', String(total)).header('link', links.join(', '))
}

/** `?sort=created_at asc`; newest first where nothing is said. */
function oldestFirst(request: FastifyRequest): boolean {
  const text = queryOf(request, 'sort')
  if (!text) return false
  const [field = '', way = 'asc', more] = text.trim().split(/\s+/)
  const bad = (reason: string) => fail('auth_validation_failed', { reason: `Bad Sort Parameters: ${reason}` })
  if (field !== 'created_at') throw bad(`bad field for sort '${field.slice(0, 40)}'`)
  if ((way !== 'asc' && way !== 'desc') || more !== undefined)
    throw bad(`bad direction for sort '${way.slice(0, 40)}', only 'asc' and 'desc' allowed`)
  return way === 'asc'
}

export function adminRoutes(app: FastifyInstance, options: AuthOptions): void {
  app.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'))
  invitations(app, options)
  users(app, options)
  sessions(app, options)
  factors(app, options)

  app.get('/admin/audit', ADMINISTER, async (request, reply) => {
    const realm = realmOf(options, request)
    const { entries, total } = await auditLog(realm, pageOf(request), queryOf(request, 'query'))
    paged(request, reply, `${realm.issuer}/admin/audit`, total)
    return entries.map(auditView)
  })
}

function invitations(app: FastifyInstance, options: AuthOptions): void {
  app.post('/invite', ADMINISTER, async (request) => {
    const { email, data } = paramsOf(request)
    return userView(await invite(realmOf(options, request), { email, data, redirectTo: redirectOf(request) }))
  })

  app.post('/admin/generate_link', ADMINISTER, async (request) => {
    const body = paramsOf(request)
    const made = await generateLink(realmOf(options, request), {
      type: body.type,
      email: body.email,
      newEmail: body.new_email,
      password: body.password,
      data: body.data,
      redirectTo: redirectOf(request),
    })
    return {
      ...userView(made.person),
      action_link: made.link,
      email_otp: made.otp,
      hashed_token: made.token,
      verification_type: made.type,
      redirect_to: made.redirectTo,
    }
  })
}

function users(app: FastifyInstance, options: AuthOptions): void {
  app.post('/admin/users', ADMINISTER, async (request) => userView(await createUser(realmOf(options, request), paramsOf(request))))

  app.get('/admin/users', ADMINISTER, async (request, reply) => {
    const realm = realmOf(options, request)
    const filter = queryOf(request, 'filter') ?? ''
    const { people, total } = await listUsers(realm, pageOf(request), { text: filter.slice(0, 200), oldestFirst: oldestFirst(request) })
    paged(request, reply, `${realm.issuer}/admin/users`, total)
    return { users: people.map(userView), aud: 'authenticated' }
  })

  app.get('/admin/users/:id', ADMINISTER, async (request) =>
    userView(await readUserById(realmOf(options, request), paramOf(request, 'id'))),
  )

  app.put('/admin/users/:id', ADMINISTER, async (request) =>
    userView(await changeUser(realmOf(options, request), paramOf(request, 'id'), paramsOf(request))),
  )

  app.delete('/admin/users/:id', ADMINISTER, async (request) => {
    await deleteUser(realmOf(options, request), paramOf(request, 'id'), bodyOf(request).should_soft_delete === true)
    return {}
  })
}

function sessions(app: FastifyInstance, options: AuthOptions): void {
  app.get('/admin/users/:id/sessions', ADMINISTER, async (request) => ({
    sessions: (await sessionsOfUser(realmOf(options, request), paramOf(request, 'id'))).map(userSessionView),
  }))

  app.delete('/admin/users/:id/sessions', ADMINISTER, async (request, reply) => {
    await endSessionOfUser(realmOf(options, request), paramOf(request, 'id'), null)
    return reply.code(204).send()
  })

  app.delete('/admin/users/:id/sessions/:session', ADMINISTER, async (request, reply) => {
    await endSessionOfUser(realmOf(options, request), paramOf(request, 'id'), paramOf(request, 'session'))
    return reply.code(204).send()
  })
}

function factors(app: FastifyInstance, options: AuthOptions): void {
  app.get('/admin/users/:id/factors', ADMINISTER, async (request) =>
    (await readUserById(realmOf(options, request), paramOf(request, 'id'))).factors.map(factorView),
  )

  app.put('/admin/users/:id/factors/:factor', ADMINISTER, async (request) =>
    factorView(await changeFactor(realmOf(options, request), paramOf(request, 'id'), paramOf(request, 'factor'), paramsOf(request))),
  )

  app.delete('/admin/users/:id/factors/:factor', ADMINISTER, async (request) => ({
    id: await removeFactor(realmOf(options, request), paramOf(request, 'id'), paramOf(request, 'factor')),
  }))
}
