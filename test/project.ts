/** Projects of a test server, made through its API as any other client would. */
import assert from 'node:assert/strict'
import pg from 'pg'
import type { TestServer } from './node.ts'

/** What the control API says of a project; only what the tests look at. */
export interface ProjectBody {
  readonly ref: string
  readonly name: string
  readonly url: string
  readonly state: string
  readonly version: number
  readonly isolation: string
  readonly labels: Record<string, string>
  readonly organisation: { readonly id: string; readonly name: string }
  readonly services: readonly { readonly id: string; readonly name: string; readonly status: string; readonly awake_because: string[] }[]
}

export interface Keys {
  readonly anon_key: string
  readonly service_role_key: string
  readonly jwt_secret: string
  readonly keys: readonly { readonly id: string; readonly kind: string; readonly key: string }[]
}

export interface TestProject extends ProjectBody {
  readonly anon: string
  readonly service: string
  readonly secrets: Keys
  /** Runs SQL as the owner of the database, through the wire listener. */
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** A signed user token. */
  token(sub: string, more?: Record<string, unknown>): Promise<string>
}

export const ORGANISATION = 'acme'

/** Makes the organisation of the tests unless it is there. */
export async function organisation(server: TestServer, name = ORGANISATION): Promise<string> {
  const made = await server.api('POST', '/organisations', { name, title: name })
  assert.ok(made.status === 201 || made.status === 409, JSON.stringify(made.body))
  return name
}

/** Another process may read the same thing: a project that is there already. */
export async function openProject(server: TestServer, ref: string): Promise<TestProject> {
  const found = await server.api<ProjectBody>('GET', `/projects/${ref}`)
  assert.equal(found.status, 200, JSON.stringify(found.body))
  const { body: secrets } = await server.api<Keys>('POST', `/projects/${ref}/keys/reveal`)
  const { body: connection } = await server.api<{ db_url: string }>('POST', `/projects/${ref}/connection/reveal`)
  return {
    ...found.body,
    secrets,
    anon: secrets.anon_key,
    service: secrets.service_role_key,
    async sql(text, values) {
      const client = new pg.Client({ connectionString: connection.db_url })
      // A server that is killed ends the connection: the query's own error says so.
      client.on('error', () => {})
      await client.connect()
      try {
        const answer = await client.query(text, values)
        return (Array.isArray(answer) ? answer.at(-1) : answer).rows
      } finally {
        await client.end()
      }
    },
    async token(sub, more = {}) {
      const made = await server.api<{ token: string }>('POST', `/projects/${ref}/user-tokens`, { sub, ...more })
      assert.equal(made.status, 201, JSON.stringify(made.body))
      return made.body.token
    },
  }
}

export async function createProject(
  server: TestServer,
  name: string,
  { organisation: of = ORGANISATION, ...more }: { organisation?: string; [key: string]: unknown } = {},
): Promise<TestProject> {
  await organisation(server, of)
  const made = await server.api<ProjectBody>('POST', `/organisations/${of}/projects`, { name, ...more }, { headers: { prefer: 'wait=60' } })
  assert.equal(made.status, 201, `${JSON.stringify(made.body)}\n${server.output()}`)
  return openProject(server, made.body.ref)
}

/** One request to the data API of a project. */
export async function rest(
  project: Pick<TestProject, 'url'>,
  key: string | null,
  method: string,
  path: string,
  options: { body?: unknown; token?: string; headers?: Record<string, string> } = {},
) {
  const response = await fetch(`${project.url}/rest/v1${path}`, {
    method,
    headers: {
      ...(key === null ? {} : { apikey: key }),
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  })
  const text = await response.text()
  const body: unknown = text === '' ? null : JSON.parse(text)
  return { status: response.status, headers: response.headers, body }
}

/** A counter or gauge of the server's metrics, summed over its labels. */
export async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.adminUrl}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}
