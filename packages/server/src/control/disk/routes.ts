import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Disk } from '@sovrabase/contract/disk'
import type { Static } from 'typebox'
import type { Control } from '../context.ts'
import { diskUse, metadataBytes } from './use.ts'

/** What of the disk is used by what, and what could be freed. Measured when asked: some milliseconds a project. */
export const diskRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/disk',
      { config: { action: 'platform:read', resource: 'platform' }, schema: { response: { 200: Disk } } },
      async (): Promise<Static<typeof Disk>> => {
        const { projects, orphans } = await diskUse(control)
        const sum = (of: readonly { readonly bytes: { readonly total: number } }[]) => of.reduce((all, { bytes }) => all + bytes.total, 0)
        const gone = projects.filter(({ state }) => state === 'deleted')
        const all = (kind: 'wal' | 'log' | 'kept') => projects.reduce((bytes, project) => bytes + project.bytes[kind], 0)
        const freeable = [
          { kind: 'trash' as const, bytes: sum(gone), count: gone.length },
          { kind: 'orphans' as const, bytes: orphans.reduce((bytes, one) => bytes + one.bytes, 0), count: orphans.length },
          { kind: 'kept' as const, bytes: all('kept'), count: projects.filter(({ bytes }) => bytes.kept > 0).length },
        ]
        return {
          ...control.space.state(),
          kinds: {
            projects: sum(projects) - sum(gone),
            trash: sum(gone),
            packed: sum(projects.filter(({ packed }) => packed)),
            kept: all('kept'),
            wal: all('wal'),
            cluster_logs: all('log'),
            logs: control.logs?.bytes() ?? 0,
            metadata: metadataBytes(control),
          },
          freeable: freeable.filter(({ count }) => count > 0),
          orphans,
          projects,
        }
      },
    )
  }
