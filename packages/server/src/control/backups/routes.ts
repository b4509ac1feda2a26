import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Name, Ref } from '@sovrabase/contract/common'
import { Project } from '@sovrabase/contract/project'
import { Type } from 'typebox'
import type { SealWith } from '../../base/archive/seal.ts'
import { actorOf, projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { oneProject } from '../projects/one.ts'
import { archiveRoutes, storeRoutes } from './archive-routes.ts'
import { createBackup } from './create.ts'
import { createBackupIn } from './create-in.ts'
import { restoreProjectFrom } from './restore.ts'
import { rootKeyRoutes } from './root-key.ts'

const TAR = 'application/x-tar'

const sealing = {
  passphrase: Type.Optional(Type.String({ minLength: 8, maxLength: 1024, description: 'Goes with the request and is never stored' })),
  recipients: Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 16, description: 'Public keys: age1…' })),
}
const ProjectBackup = Type.Object(sealing, { additionalProperties: false })
const BackupCreate = Type.Object(
  {
    ...sealing,
    to: Type.Optional(
      Type.String({
        pattern: '^s3://',
        maxLength: 400,
        description: 'The server writes it there, and answers where; without: the answer is the backup',
      }),
    ),
    projects: Type.Optional(Type.Array(Ref, { minItems: 1, maxItems: 10_000, description: 'Without: everything' })),
  },
  { additionalProperties: false },
)

const keyOf = ({ passphrase, recipients }: SealWith): SealWith => ({
  ...(passphrase === undefined ? {} : { passphrase }),
  ...(recipients === undefined ? {} : { recipients }),
})

/** Backups as streams out, one project as a stream in. */
export const backupRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    await app.register(rootKeyRoutes(control))
    await app.register(archiveRoutes(control))
    await app.register(storeRoutes(control))
    app.addContentTypeParser(TAR, (_request, _payload, done) => done(null, undefined))

    app.post(
      '/backups',
      { config: { action: 'backup:create', resource: 'platform' }, schema: { body: BackupCreate } },
      async (request, reply) => {
        const { projects, to, ...key } = request.body
        const order = { key: keyOf(key as SealWith), projects: projects ?? null }
        if (to !== undefined)
          return reply.code(201).send(await createBackupIn(control, actorOf(request), order, await control.places.open(to)))
        const stream = await createBackup(control, actorOf(request), order)
        return reply.type(TAR).send(stream)
      },
    )

    app.post(
      '/projects/:ref/backup',
      {
        config: { action: 'project_backup:create', resource: 'project' },
        schema: { params: Type.Object({ ref: Ref }), body: ProjectBackup },
      },
      async (request, reply) => {
        const order = { key: keyOf(request.body as SealWith), projects: [projectRefOf(request)] }
        return reply.type(TAR).send(await createBackup(control, actorOf(request), order))
      },
    )

    // The platform's alone: a data directory made by hand would make its owner master of the cluster.
    app.post(
      '/restores',
      {
        config: { action: 'backup:restore', resource: 'platform' },
        bodyLimit: Number.MAX_SAFE_INTEGER,
        schema: {
          querystring: Type.Object({
            organisation: Type.Optional(Type.String({ maxLength: 63, description: 'Id or name; without it, of the name that it had' })),
            name: Type.Optional(Name),
          }),
          response: { 201: Project },
        },
      },
      async (request, reply) => {
        const ref = await restoreProjectFrom(control, actorOf(request), request.raw, request.query)
        reply.code(201).header('location', `/v1/projects/${ref}`)
        return oneProject(control, ref)
      },
    )
  }
