import type { FastifyInstance } from 'fastify'
import { changedCustom, customView, kindOf, withCustom, withoutCustom } from '../../realms/federated/custom.ts'
import { bodyOf, paramOf, queryOf } from './input.ts'
import type { StoredSettings } from './options.ts'

const ADMINISTER = { config: { action: 'auth:administer', resource: 'project' } } as const

/** OAuth and OpenID providers of the project's own, kept in its settings. */
export function customProviderRoutes(app: FastifyInstance, { settings, now }: { settings: StoredSettings; now: () => number }): void {
  app.get('/admin/custom-providers', ADMINISTER, async (request) => {
    const all = (await settings.read(request)).custom_providers ?? {}
    const type = kindOf(queryOf(request, 'type'))
    const shown = Object.keys(all).map((identifier) => customView(all, identifier))
    return { providers: shown.filter(({ provider_type }) => type === null || provider_type === type) }
  })

  app.post('/admin/custom-providers', ADMINISTER, async (request, reply) => {
    let made = { all: {}, identifier: '' } as ReturnType<typeof withCustom>
    await settings.write(request, (before) => {
      made = withCustom(before.custom_providers ?? {}, bodyOf(request), now())
      return { ...before, custom_providers: made.all }
    })
    return reply.code(201).send(customView(made.all, made.identifier))
  })

  app.get('/admin/custom-providers/:id', ADMINISTER, async (request) =>
    customView((await settings.read(request)).custom_providers ?? {}, paramOf(request, 'id')),
  )

  app.put('/admin/custom-providers/:id', ADMINISTER, async (request) => {
    const id = paramOf(request, 'id')
    let all: Parameters<typeof customView>[0] = {}
    await settings.write(request, (before) => {
      all = changedCustom(before.custom_providers ?? {}, id, bodyOf(request), now())
      return { ...before, custom_providers: all }
    })
    return customView(all, id)
  })

  app.delete('/admin/custom-providers/:id', ADMINISTER, async (request, reply) => {
    await settings.write(request, (before) => ({
      ...before,
      custom_providers: withoutCustom(before.custom_providers ?? {}, paramOf(request, 'id')),
    }))
    return reply.code(204).send()
  })
}
