import { PassThrough } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Ref } from '@sovrabase/contract/common'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { fail } from '../../base/errors.ts'
import { type LineFilter, passes } from '../../base/log-files.ts'
import { projectRefOf } from '../actor.ts'
import type { Control } from '../context.ts'
import { clusterLines } from './cluster.ts'

const Query = Type.Object(
  {
    since: Type.Optional(Type.String({ format: 'date-time', description: 'Lines from this moment on' })),
    level: Type.Optional(Type.Union(['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((level) => Type.Literal(level)))),
    request_id: Type.Optional(Type.String({ maxLength: 200, description: 'Of one request' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 200, description: 'The last so many lines' })),
    follow: Type.Optional(Type.Boolean({ description: 'Go on with each line that comes, until the caller ends it' })),
  },
  { additionalProperties: false },
)
type Wanted = { since?: string; level?: string; request_id?: string; limit?: number; follow?: boolean }

const TAIL = 1 << 20
/** ms between two looks at the log of a cluster. */
const LOOK = 1_000
/** Bytes that a follower may be behind; then it is ended, so that it cannot fill the memory. */
const BEHIND = 4 << 20

/** Lines of JSON (application/x-ndjson), oldest first: of the server, and of one project's clusters. */
export const logRoutes =
  (control: Control): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(
      '/logs',
      { config: { action: 'log:read', resource: 'platform', quiet: true }, schema: { querystring: Query } },
      async (request, reply) => answer(reply, request.query as Wanted, undefined),
    )
    app.get(
      '/projects/:ref/logs',
      {
        config: { action: 'project_log:read', resource: 'project', quiet: true },
        schema: { params: Type.Object({ ref: Ref }), querystring: Query },
      },
      async (request, reply) => answer(reply, request.query as Wanted, projectRefOf(request)),
    )

    /** What the clusters of a project have said, as lines of JSON. */
    async function ofClusters(project: string, filter: LineFilter): Promise<string[]> {
      const services = await control.services.list(control.db, { projects: [project] })
      const texts = await Promise.all(
        services.map(async ({ driver, engine, volume }) => {
          const text = await control.drivers.get(driver)?.log?.(volume, TAIL)
          return clusterLines(text ?? '', project, engine)
        }),
      )
      return texts.flatMap((lines) => lines.map((line) => JSON.stringify(line))).filter((line) => passes(line, filter))
    }

    const timeOf = (line: string) => /"time":"([^"]*)"/.exec(line)?.[1] ?? ''

    async function answer(reply: FastifyReply, wanted: Wanted, project: string | undefined): Promise<FastifyReply> {
      const { logs } = control
      if (!logs) throw fail('logs_off')
      const { since, level, request_id, limit = 200, follow = false } = wanted
      const filter: LineFilter = {
        ...(since === undefined ? {} : { since: Date.parse(since) }),
        ...(level === undefined ? {} : { level }),
        ...(project === undefined ? {} : { project }),
        ...(request_id === undefined ? {} : { request: request_id }),
      }
      const out = new PassThrough()
      // Heard from now on, and sent after what is in the files.
      const early: string[] = []
      let send = (line: string) => void early.push(line)
      const end = follow ? logs.follow((line) => passes(line, filter) && send(line.trimEnd())) : () => {}
      const [own, others] = await Promise.all([
        logs.read(filter, limit),
        project === undefined ? Promise.resolve([]) : ofClusters(project, filter),
      ])
      const past = others.length === 0 ? own : [...own, ...others].sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1)).slice(-limit)
      for (const line of past) out.write(`${line}\n`)
      reply.header('content-type', 'application/x-ndjson')
      if (!follow) return reply.send(out.end())
      send = (line) => {
        if (out.writableLength > BEHIND) out.destroy()
        else out.write(`${line}\n`)
      }
      const known = new Set(own.slice(-early.length - 1))
      for (const line of early) if (!known.has(line)) send(line)
      const stop = project === undefined ? () => {} : followClusters(project, filter, timeOf(others.at(-1) ?? ''), (line) => send(line))
      const finish = control.onDrain(() => out.end())
      out.once('close', () => {
        end()
        stop()
        finish()
      })
      return reply.send(out)
    }

    /** Files of others tell nobody: looked at each second, while somebody follows. */
    function followClusters(project: string, filter: LineFilter, last: string, send: (line: string) => void): () => void {
      let newest = last
      let looking = false
      const timer = setInterval(async () => {
        if (looking) return
        looking = true
        try {
          for (const line of await ofClusters(project, filter)) {
            if (timeOf(line) <= newest) continue
            newest = timeOf(line)
            send(line)
          }
        } catch (error) {
          control.log.warn({ err: error, project }, 'could not read the log of a cluster')
        } finally {
          looking = false
        }
      }, LOOK)
      return () => clearInterval(timer)
    }
  }
