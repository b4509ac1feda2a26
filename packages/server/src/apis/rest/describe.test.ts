import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startRest, type TestRest } from './rest.testing.ts'

// biome-ignore lint/suspicious/noExplicitAny: any JSON, looked at by its parts
type Document = Record<string, any>

let rest: TestRest
before(async () => {
  rest = await startRest()
  await rest.admin.query(`
    comment on schema public is E'My API\\n\\nwith more\\nthan a line';
    comment on table clients is E'Clients\\nWho pay'; comment on column clients.id is 'Number';
    create table shown (id int primary key references clients, mood mood default 'sad', name varchar(20) default 'x', flag boolean default false,
      amount numeric(10,2) default 42.2, tags text[] default '{}', data jsonb, born date default '1900-01-01', made timestamptz default now(), list jsonb[]);
    comment on function add_them is E'Adds\\nTwo numbers';
    revoke all on shown from anon; grant select, insert on shown to anon; revoke all on clients from anon; grant select on clients to anon`)
  await rest.holder.fresh(rest.holder.current)
})
after(() => rest?.stop())

const get = async (headers: Record<string, string> = {}) => rest.app.inject({ method: 'GET', url: '/', headers })
const document = async (headers: Record<string, string> = {}) => (await get(headers)).json() as Document

describe('the root document', () => {
  it('describes tables as PostgREST does', async () => {
    const { info, definitions, paths, parameters } = await document()
    assert.deepEqual([info?.title, info?.description], ['My API', 'with more\nthan a line'])
    assert.deepEqual(definitions?.shown, {
      required: ['id'],
      type: 'object',
      properties: {
        id: {
          type: 'integer',
          format: 'integer',
          description: "Note:\nThis is a Primary Key.<pk/>\nThis is a Foreign Key to `clients.id`.<fk table='clients' column='id'/>",
        },
        mood: { type: 'string', format: 'public.mood', enum: ['sad', 'happy'], default: 'sad' },
        name: { type: 'string', format: 'character varying', maxLength: 20, default: 'x' },
        flag: { type: 'boolean', format: 'boolean', default: false },
        amount: { type: 'number', format: 'numeric', default: 42.2 },
        tags: { type: 'array', items: { type: 'string' }, format: 'text[]' },
        data: { format: 'jsonb' },
        born: { type: 'string', format: 'date', default: '1900-01-01' },
        made: { type: 'string', format: 'timestamp with time zone', default: 'now()' },
        list: { type: 'array', items: {}, format: 'jsonb[]' },
      },
    })
    assert.equal(definitions?.clients?.properties?.id.description, 'Number\n\nNote:\nThis is a Primary Key.<pk/>')
    const clients = paths?.['/clients']?.get
    assert.deepEqual([clients?.summary, clients?.description], ['Clients', 'Who pay'])
    assert.deepEqual(
      clients.parameters.map(({ $ref }: { $ref: string }) => $ref.slice('#/parameters/'.length)),
      ['rowFilter.clients.id', 'rowFilter.clients.name', 'select', 'order', 'range', 'rangeUnit', 'offset', 'limit', 'preferCount'],
    )
    assert.deepEqual(parameters?.['body.shown'], {
      name: 'shown',
      description: 'shown',
      required: false,
      in: 'body',
      schema: { $ref: '#/definitions/shown' },
    })
  })

  it('follows privileges', async () => {
    const methods = async (headers = {}) => Object.keys((await document(headers)).paths?.['/shown'] ?? {})
    assert.deepEqual(await methods(), ['get', 'post'])
    assert.deepEqual(await methods({ 'x-role': 'service_role' }), ['get', 'post', 'patch', 'delete'])
    const paths = (await document()).paths ?? {}
    assert.deepEqual([Object.keys(paths['/clients'] ?? {}), paths['/private']], [['get'], undefined])
  })

  it('describes functions', async () => {
    const { get: read, post } = (await document()).paths?.['/rpc/add_them'] ?? {}
    assert.deepEqual([read?.summary, read?.description, read?.tags], ['Adds', 'Two numbers', ['(rpc) add_them']])
    assert.deepEqual(read?.parameters, [
      { name: 'a', required: true, in: 'query', type: 'integer', format: 'integer' },
      { name: 'b', required: false, in: 'query', type: 'integer', format: 'integer' },
    ])
    assert.deepEqual(post.parameters[0], {
      name: 'args',
      required: true,
      in: 'body',
      schema: {
        required: ['a'],
        description: 'Adds\nTwo numbers',
        type: 'object',
        properties: { a: { type: 'integer', format: 'integer' }, b: { type: 'integer', format: 'integer' } },
      },
    })
    assert.deepEqual((await document()).paths?.['/rpc/total']?.get?.parameters, [
      { name: 'v', required: false, in: 'query', type: 'array', items: { type: 'integer', format: 'integer' }, collectionFormat: 'multi' },
    ])
  })

  it('offers GET of no function that may write, and leaves out what is empty', async () => {
    const { paths } = await document()
    assert.deepEqual(Object.keys(paths?.['/rpc/write_person'] ?? {}), ['post'])
    const { get: read, post } = paths?.['/rpc/tabled'] ?? {}
    assert.deepEqual([read && 'parameters' in read, post?.parameters[0].schema], [false, { type: 'object' }])
  })

  it('is OpenAPI 3.1 for who asks for it, every reference of it whole', async () => {
    const answer = await get({ accept: 'application/openapi+json;version=3.1' })
    assert.equal(answer.headers['content-type'], 'application/openapi+json;version=3.1; charset=utf-8')
    const { openapi, servers, paths, components } = answer.json() as Document
    assert.deepEqual([openapi, servers], ['3.1.0', [{ url: 'http://localhost/rest/v1' }]])
    const refs = [...answer.body.matchAll(/"\$ref":"#\/components\/(\w+)\/([^"]+)"/g)]
    assert.ok(refs.length > 50)
    for (const [, kind = '', name = ''] of refs) assert.ok(components?.[kind]?.[name], `${kind}/${name}`)
    const post = paths?.['/shown']?.post
    assert.deepEqual(post.requestBody.content, {
      'application/json': {
        schema: { anyOf: [{ $ref: '#/components/schemas/shown' }, { type: 'array', items: { $ref: '#/components/schemas/shown' } }] },
      },
      'text/csv': { schema: { type: 'string' } },
    })
  })

  it('obeys the settings in the database', async () => {
    const set = async (settings: Record<string, string>) => {
      await rest.admin.query('alter role authenticator reset all')
      for (const [name, value] of Object.entries(settings))
        await rest.admin.query(`alter role authenticator set pgrst.${name} = '${value}'`)
      await rest.holder.fresh(rest.holder.current)
    }
    await set({ openapi_mode: 'disabled' })
    const disabled = await get()
    assert.deepEqual([disabled.statusCode, disabled.json().code], [404, 'PGRST126'])
    await set({ openapi_mode: 'ignore-privileges', openapi_security_active: 'true' })
    const all = await document()
    assert.ok(all.paths?.['/private'])
    assert.deepEqual(all.security, [{ JWT: [] }])
    await set({ db_root_spec: 'tabled', server_timing_enabled: 'true' })
    const own = await get()
    assert.deepEqual(own.json(), [
      { x: 1, y: 'one' },
      { x: 2, y: 'two' },
    ])
    const part = (name: string) => `${name};dur=\\d+\\.\\d`
    const parts = ['jwt', 'parse', 'plan', 'transaction', 'response'].map(part).join(', ')
    assert.match(String(own.headers['server-timing']), new RegExp(`^${parts}$`))
    await set({ server_timing_enabled: 'true' })
    for (const [method, url] of [
      ['HEAD', '/'],
      ['OPTIONS', '/'],
      ['OPTIONS', '/clients'],
      ['OPTIONS', '/rpc/many'],
    ] as const) {
      const { statusCode, headers } = await rest.app.inject({ method, url })
      assert.equal(statusCode, 200)
      assert.match(String(headers['server-timing']), new RegExp(`^${parts}$`), `${method} ${url}`)
    }
    await set({})
    assert.equal((await get()).headers['server-timing'], undefined)
  })
})
