import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Authoriser } from '../../gateway/authorise.ts'
import type { Control } from '../context.ts'
import { projectCollectionRoutes } from './collection.ts'
import { movingRoutes } from './moving.ts'
import { oneProjectRoutes } from './project.ts'
import { trashRoutes } from './trash.ts'
import { upgradingRoutes } from './upgrading.ts'
import { wakingRoutes } from './waking.ts'

export const projectRoutes =
  (control: Control, authoriser: Authoriser): FastifyPluginAsyncTypebox =>
  async (app) => {
    for (const routes of [projectCollectionRoutes, oneProjectRoutes, trashRoutes, movingRoutes, upgradingRoutes, wakingRoutes])
      await app.register(routes(control, authoriser))
  }
