import type { FastifyInstance } from 'fastify'
import { answerError } from '../base/http-errors.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { auditRoutes } from './audit/routes.ts'
import { authRoutes } from './auth/routes.ts'
import { backupRoutes } from './backups/routes.ts'
import type { Control } from './context.ts'
import { advisorRoutes } from './database/advisors/routes.ts'
import { changeRoutes } from './database/change/routes.ts'
import { objectRoutes } from './database/objects/routes.ts'
import { sqlRoutes } from './database/sql/routes.ts'
import { statisticRoutes } from './database/statistics/routes.ts'
import { typeRoutes } from './database/types/routes.ts'
import { diskRoutes } from './disk/routes.ts'
import { idempotency } from './idempotency.ts'
import { refuseNul } from './input.ts'
import { keyRoutes } from './keys/routes.ts'
import { logRoutes } from './logs/routes.ts'
import { statementLogRoutes } from './logs/statements.ts'
import { memberRoutes } from './members/routes.ts'
import { organisationRoutes } from './organisations/routes.ts'
import { platformRoutes } from './platform/routes.ts'
import { platformSsoRoutes } from './platform/sso.ts'
import { projectRoutes } from './projects/routes.ts'
import { documentOf } from './reference/document.ts'
import { referenceRoutes } from './reference/routes.ts'
import { serviceRoutes } from './services/routes.ts'
import { sessionRoutes } from './session/routes.ts'
import { platformSettingRoutes } from './settings/platform.ts'
import { settingRoutes } from './settings/routes.ts'
import { setupPages } from './setup/routes.ts'

/** The control API under `/v1`, its reference and the pages of first contact. */
export async function mountControl(
  app: FastifyInstance,
  control: Control,
  gateway: Gateway,
  options: { bodyLimit: number },
): Promise<void> {
  const document = documentOf(app, control.version)
  await app.register(
    async (scope) => {
      scope.addHook('onRoute', (route) => {
        route.bodyLimit ??= options.bodyLimit
      })
      // Who may see an answer is decided at each request: no cache keeps one. Secrets need it, and so do cookies.
      scope.addHook('onRequest', async (_request, reply) => {
        reply.header('cache-control', 'no-store')
      })
      scope.addHook('preValidation', refuseNul)
      // No body is an empty one: where all of it is optional nothing need be sent.
      scope.addHook('preValidation', async (request) => {
        if (request.body === undefined && request.routeOptions.schema?.body !== undefined) request.body = {}
      })
      scope.setErrorHandler((error, request, reply) => answerError(error, request, reply))
      await scope.register(idempotency, { metadata: control.metadata, vault: control.vault, now: control.now, keep: control.keepAnswers })
      for (const routes of [
        organisationRoutes,
        memberRoutes,
        keyRoutes,
        auditRoutes,
        authRoutes,
        sessionRoutes,
        platformRoutes,
        logRoutes,
        statementLogRoutes,
        diskRoutes,
        settingRoutes,
        platformSettingRoutes,
        platformSsoRoutes,
        serviceRoutes,
        typeRoutes,
        sqlRoutes,
        objectRoutes,
        changeRoutes,
        advisorRoutes,
        statisticRoutes,
        backupRoutes,
      ])
        await scope.register(routes(control))
      await scope.register(projectRoutes(control, gateway.authoriser))
    },
    { prefix: '/v1' },
  )
  await app.register(setupPages(control))
  await app.register(referenceRoutes(document))
}
