import { restApi } from './apis/rest/routes.ts'
import { type Http, makeHttp } from './base/http.ts'
import type { Config } from './config.ts'
import { mountControl } from './control/control.ts'
import type { Foundation } from './foundation.ts'
import { refuseWhenLow } from './gateway/disk.ts'
import { mountPlatformApi, mountProjectApi } from './gateway/gateway.ts'
import { makeRewrite, onSharedOrigin, projectOf } from './gateway/resolve.ts'
import type { ProjectPrincipal } from './gateway/types.ts'
import type { Addressing } from './gateway/urls.ts'
import type { NodeOptions } from './node.ts'
import { DATABASE, type Parts } from './parts.ts'
import type { Cluster } from './runtime/engines/postgres/cluster.ts'

/** APIs that applications speak: each is one line. */
function mountApis(app: Http, { gateway, control, auth }: Parts, config: Config): void {
  mountProjectApi(app, '/auth/v1', auth.api(gateway))
  mountProjectApi(
    app,
    '/rest/v1',
    restApi({
      bodyLimit: config.limits.body.rest,
      shared: (request) => onSharedOrigin(request.raw),
      principal: (request) => request.principal as ProjectPrincipal,
      settings: (request) => projectOf(request).settings.rest as object | undefined,
      known: ({ project }) =>
        project ? (control.connector.seen(project.ref, DATABASE) as Cluster | undefined)?.catalogue.current : undefined,
      url: (request) => new URL(`${projectOf(request).url}/rest/v1`),
      open(request) {
        const opened = gateway.limits.hold(request, control.connector, DATABASE)
        const share = (hold: Awaited<typeof opened>) => ({ database: hold.attached<Cluster>(), release: hold.release })
        return opened instanceof Promise ? opened.then(share) : share(opened)
      },
    }),
  )
}

function openHttp({ config, log }: NodeOptions, { keepAddress }: Foundation, addressing: Addressing): Http {
  const { headers, body, idle } = config.limits.timeouts
  return makeHttp({
    log,
    trustedProxies: config.api.trusted_proxies,
    headerLimit: config.limits.headers,
    timeouts: { headers, body: body ?? 0, idle },
    tls: config.api.tls,
    keepAddress,
    project: (request) => request.project?.ref,
    server: { rewriteUrl: makeRewrite(addressing) },
  })
}

function mountHealth(app: Http, ready: () => boolean): void {
  const publicRoute = { config: { action: 'public', quiet: true } } as const
  for (const [path, status] of [
    ['/health', 'ok'],
    ['/health/ready', 'ready'],
  ] as const)
    app.get(path, publicRoute, (_request, reply) => (ready() ? { status } : reply.code(503).send({ status: 'starting' })))
}

/** All that is spoken by HTTP, before it listens. */
export async function mountAll(options: NodeOptions, foundation: Foundation, parts: Parts, ready: () => boolean): Promise<Http> {
  const { config } = options
  const { gateway, control, auth, realm, space, addressing } = parts
  const app = openHttp(options, foundation, addressing)
  gateway.install(app as never)
  app.addHook('onRequest', refuseWhenLow(space) as never)
  mountHealth(app, ready)
  await mountControl(app as never, control, gateway, { bodyLimit: config.limits.body.control })
  mountApis(app, parts, config)
  mountPlatformApi(app as never, await auth.platformApi(realm, gateway))
  return app
}
