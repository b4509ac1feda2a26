import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { Type } from 'typebox'
import { fail } from './errors.ts'
import { type Http, type HttpOptions, makeHttp } from './http.ts'
import { makeLog } from './log.ts'

const CANARY = 'canary-7f3a'

interface Started {
  app: Http
  port: number
  lines: () => Record<string, unknown>[]
  text: () => string
}

async function start(options: Partial<HttpOptions> = {}, routes: (app: Http) => void = () => {}): Promise<Started> {
  let text = ''
  const write = (line: string) => {
    text += line
  }
  const log = makeLog({ level: 'info', pretty: false, destination: { write } })
  const app = makeHttp({ log, ...options })
  routes(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return {
    app,
    port,
    text: () => text,
    lines: () =>
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  }
}

/** Sends bytes as they are and answers everything that comes back until the other side closes. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.on('data', (data) => {
      answer += data.toString()
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', (error) => (answer ? resolve(answer) : reject(error)))
  })
}

async function seen(port: number, headers: Record<string, string>) {
  const answer = await fetch(`http://127.0.0.1:${port}/seen`, { headers })
  return (await answer.json()) as { ip: string; host: string; protocol: string; id: string; headers: Record<string, string> }
}

const seenRoute = (app: Http) =>
  void app.get('/seen', (request) => ({
    ip: request.ip,
    host: request.host,
    protocol: request.protocol,
    id: request.id,
    headers: request.headers,
  }))

describe('proxies', () => {
  let trusting: Started
  let plain: Started
  before(async () => {
    trusting = await start({ trustedProxies: ['127.0.0.0/8', '10.0.0.0/8', 'fd00::/8'] }, seenRoute)
    plain = await start({}, seenRoute)
  })
  after(async () => {
    await trusting.app.close()
    await plain.app.close()
  })

  const rows: [forwarded: string, ip: string, why: string][] = [
    ['203.0.113.7', '203.0.113.7', 'one hop'],
    ['1.1.1.1, 203.0.113.7', '203.0.113.7', 'what stands further left was written by the caller'],
    ['1.1.1.1, 203.0.113.7, 10.1.2.3', '203.0.113.7', 'the right-most that is no proxy'],
    ['10.9.9.9, 10.1.2.3', '10.9.9.9', 'only proxies: the furthest'],
    ['203.0.113.7:4711', '203.0.113.7', 'a port behind it'],
    ['[2001:db8::1]:443', '2001:db8::1', 'brackets and port'],
    ['::ffff:203.0.113.7', '203.0.113.7', 'IPv4-mapped'],
    ['203.0.113.7, fd00::5', '203.0.113.7', 'an IPv6 proxy'],
    ['203.0.113.7, nonsense', '127.0.0.1', 'no address on the right: nothing left of it is believed'],
    ['203.0.113.7, <script>, 10.1.2.3', '10.1.2.3', 'as far as it is good'],
    ['', '127.0.0.1', 'empty'],
  ]
  for (const [forwarded, ip, why] of rows) {
    test(`X-Forwarded-For ${JSON.stringify(forwarded)}: ${why}`, async () => {
      assert.equal((await seen(trusting.port, { 'x-forwarded-for': forwarded })).ip, ip)
    })
  }

  test('host and protocol of a proxy are believed, rubbish is not', async () => {
    const good = await seen(trusting.port, { 'x-forwarded-host': 'evil.example, abc.example.org:8443', 'x-forwarded-proto': 'https' })
    assert.equal(good.host, 'abc.example.org:8443')
    assert.equal(good.protocol, 'https')
    const bad = await seen(trusting.port, { 'x-forwarded-host': 'a b"c', 'x-forwarded-proto': 'javascript' })
    assert.equal(bad.host, `127.0.0.1:${trusting.port}`)
    assert.equal(bad.protocol, 'http')
  })

  test('without trusted proxies no such header is believed or handed on', async () => {
    const got = await seen(plain.port, {
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
      'x-real-ip': '203.0.113.7',
      forwarded: 'for=203.0.113.7',
      'x-request-id': 'chosen-by-the-caller',
    })
    assert.equal(got.ip, '127.0.0.1')
    assert.equal(got.host, `127.0.0.1:${plain.port}`)
    assert.equal(got.protocol, 'http')
    assert.notEqual(got.id, 'chosen-by-the-caller')
    for (const name of ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'forwarded']) {
      assert.equal(got.headers[name], undefined, name)
    }
  })

  test('a request id of a proxy is kept when it is a sane one', async () => {
    assert.equal((await seen(trusting.port, { 'x-request-id': 'trace-0123456789' })).id, 'trace-0123456789')
    assert.notEqual((await seen(trusting.port, { 'x-request-id': 'short' })).id, 'short')
    assert.notEqual((await seen(trusting.port, { 'x-request-id': 'with space and more' })).id, 'with space and more')
    const answer = await fetch(`http://127.0.0.1:${trusting.port}/seen`)
    assert.equal(answer.headers.get('x-request-id'), ((await answer.json()) as { id: string }).id)
  })
})

describe('what never becomes a request', () => {
  let server: Started
  before(async () => {
    server = await start({ timeouts: { headers: 60_000 } }, (app) => void app.get('/', () => ({ ok: true })))
  })
  after(() => server.app.close())

  const bodyOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>

  test('headers below 64 KiB pass, above it 431 in JSON', async () => {
    const large = await fetch(`http://127.0.0.1:${server.port}/`, { headers: { 'x-large': 'x'.repeat(60_000) } })
    assert.equal(large.status, 200)
    const answer = await raw(server.port, `GET / HTTP/1.1\r\nHost: x\r\nX-Large: ${CANARY.repeat(8000)}\r\n\r\n`)
    assert.match(answer, /^HTTP\/1\.1 431 /)
    const body = bodyOf(answer)
    assert.equal(body.code, 'headers_too_large')
    assert.equal(body.details, null)
    assert.ok(typeof body.request_id === 'string' && typeof body.hint === 'string')
  })

  test('malformed HTTP is 400 in JSON', async () => {
    const answer = await raw(server.port, 'this is no HTTP\r\n\r\n')
    assert.match(answer, /^HTTP\/1\.1 400 /)
    assert.match(answer, /Connection: close/)
    assert.equal(bodyOf(answer).code, 'malformed_http')
  })

  test('a malformed path is 400 in the envelope', async () => {
    const answer = await raw(server.port, 'GET /%E0%A4%A HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    assert.match(answer, /^HTTP\/1\.1 400 /)
    assert.equal(bodyOf(answer).code, 'invalid_request')
  })

  test('time-outs are those of the options', async () => {
    const other = await start({ timeouts: { headers: 51, body: 52, idle: 53 } })
    try {
      const { headersTimeout, requestTimeout, keepAliveTimeout } = other.app.server
      assert.deepEqual([headersTimeout, requestTimeout, keepAliveTimeout], [51, 52, 53])
    } finally {
      await other.app.close()
    }
  })
})

describe('schemas and errors', () => {
  let server: Started
  before(async () => {
    server = await start({ bodyLimit: 1000 }, (app) => {
      const Body = Type.Object(
        { name: Type.String({ maxLength: 5 }), count: Type.Optional(Type.Integer()) },
        { additionalProperties: false },
      )
      app.post('/body', { schema: { body: Body } }, (request) => ({ name: request.body.name }))
      app.post('/nothing', (request) => ({ body: request.body ?? null }))
      const Query = Type.Object({ limit: Type.Integer({ maximum: 10, default: 5 }), tag: Type.Optional(Type.Array(Type.String())) })
      app.get('/query', { schema: { querystring: Query } }, (request) => request.query)
      app.get('/params/:id', { schema: { params: Type.Object({ id: Type.Integer() }) } }, (request) => request.params)
      app.get('/answer', { schema: { response: { 200: Type.Object({ shown: Type.String() }) } } }, () => {
        return { shown: 'yes', secret: CANARY } as { shown: string }
      })
      // Neither compiles: nobody may notice before the first request.
      app.get('/broken', { schema: { querystring: { $ref: 'nowhere#' }, response: { 200: { $ref: 'nowhere#' } } } }, () => ({}))
      app.get('/known', () => {
        throw fail('rate_limited', { what: 'too fast' }, { headers: { 'retry-after': '7' } })
      })
      app.get('/unknown', () => {
        throw new Error(`it broke with ${CANARY}`)
      })
      app.addSchema({ $id: 'shared', type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] })
      app.post('/shared', { schema: { body: { $ref: 'shared#' }, response: { 200: { $ref: 'shared#' } } } }, (request) => request.body)
    })
  })
  after(() => server.app.close())

  const call = async (path: string, init?: RequestInit) => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> }
  }
  const post = (path: string, body: string, type = 'application/json') =>
    call(path, { method: 'POST', body, headers: { 'content-type': type } })

  test('ready() compiles nothing: a schema that cannot be compiled fails at its request only', async () => {
    assert.equal((await call('/broken')).status, 500)
  })

  test('bodies are not coerced, query strings and parameters are', async () => {
    assert.deepEqual((await post('/body', '{"name":"a","count":3}')).body, { name: 'a' })
    const wrong = await post('/body', '{"name":"a","count":"3"}')
    assert.equal(wrong.status, 400)
    assert.equal(wrong.body.code, 'invalid_request')
    assert.deepEqual((await call('/query?limit=7&tag=a')).body, { limit: 7, tag: ['a'] })
    assert.deepEqual((await call('/query')).body, { limit: 5 })
    assert.deepEqual((await call('/params/12')).body, { id: 12 })
    assert.equal((await call('/params/x')).status, 400)
  })

  test('an error of a schema does not repeat the value', async () => {
    const { status, body } = await post('/body', JSON.stringify({ name: CANARY }))
    assert.equal(status, 400)
    assert.match(String(body.message), /body\/name must NOT have more than 5 characters/)
    assert.ok(!JSON.stringify(body).includes(CANARY))
  })

  test('answers hold declared fields only', async () => {
    assert.deepEqual((await call('/answer')).body, { shown: 'yes' })
  })

  test('schemas can be shared', async () => {
    assert.deepEqual((await post('/shared', '{"a":1,"b":2}')).body, { a: 1 })
    assert.equal((await post('/shared', '{}')).status, 400)
  })

  test('the envelope: known and unknown errors, too large, wrong type, no JSON, no route', async () => {
    const known = await call('/known')
    assert.equal(known.status, 429)
    assert.equal(known.headers.get('retry-after'), '7')
    assert.equal(known.body.code, 'rate_limited')
    const unknown = await call('/unknown')
    assert.equal(unknown.status, 500)
    assert.equal(unknown.body.code, 'internal')
    assert.ok(!JSON.stringify(unknown.body).includes(CANARY))
    assert.equal(unknown.body.request_id, unknown.headers.get('x-request-id'))
    assert.equal((await post('/body', JSON.stringify({ name: 'x'.repeat(2000) }))).body.code, 'body_too_large')
    assert.equal((await post('/body', '<a/>', 'text/xml')).body.code, 'unsupported_media_type')
    assert.equal((await post('/body', `{"${CANARY}`)).body.code, 'invalid_json')
    assert.equal((await post('/body', '')).body.code, 'invalid_json')
    assert.deepEqual((await post('/nothing', '')).body, { body: null })
    assert.equal((await post('/nothing', '{')).body.code, 'invalid_json')
    const none = await call(`/nowhere?x=${CANARY}`)
    assert.equal(none.status, 404)
    assert.equal(none.body.code, 'not_found')
    assert.ok(!JSON.stringify(none.body).includes(CANARY))
  })
})

test('the access log has names, never values', async () => {
  const done: [string, number][] = []
  const server = await start(
    {
      project: () => 'abcdefghijklmnopqrst',
      keepAddress: (address) => `net of ${address}`,
      onDone: (request, status) => void done.push([request.method, status]),
    },
    (app) => {
      app.post('/p/:ref/items/:id', (request) => request.body)
      app.get('/health', { config: { quiet: true } }, () => ({ status: 'ok' }))
    },
  )
  try {
    const base = `http://127.0.0.1:${server.port}`
    await fetch(`${base}/p/${CANARY}/items/${CANARY}?name=eq.${CANARY}&order=${CANARY}&${encodeURIComponent(`odd ${CANARY}`)}=1`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${CANARY}`,
        apikey: CANARY,
        cookie: `a=${CANARY}`,
        'content-type': 'application/json',
        'x-any': CANARY,
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      },
      body: JSON.stringify({ value: CANARY }),
    })
    await fetch(`${base}/${CANARY}`, { headers: { traceparent: `00-${CANARY}-b7ad6b7169203331-01` } })
    await fetch(`${base}/health`)
    await raw(server.port, `NONSENSE ${CANARY}\r\n\r\n`)
  } finally {
    await server.app.close()
  }
  assert.ok(!server.text().includes(CANARY), server.text())
  const lines = server.lines().filter((line) => line.msg === 'request')
  assert.equal(lines.length, 2)
  const { ms, time, request_id, ...line } = lines[0] as Record<string, unknown>
  assert.deepEqual(line, {
    level: 'info',
    method: 'POST',
    route: '/p/:ref/items/:id',
    parameters: ['name', 'order', '?'],
    status: 200,
    project: 'abcdefghijklmnopqrst',
    address: 'net of 127.0.0.1',
    trace_id: '0af7651916cd43dd8448eb211c80319c',
    msg: 'request',
  })
  assert.equal(lines[1]?.trace_id, undefined)
  assert.ok(typeof ms === 'number' && typeof time === 'string' && typeof request_id === 'string')
  assert.deepEqual([lines[1]?.route, lines[1]?.status], ['none', 404])
  assert.deepEqual(done, [
    ['POST', 200],
    ['GET', 404],
    ['GET', 200],
  ])
})

test('a client that goes away is logged as 499', async () => {
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>()
  const { promise: release, resolve: go } = Promise.withResolvers<void>()
  const { promise: finished, resolve: finish } = Promise.withResolvers<number>()
  const server = await start({ onDone: (_request, status) => finish(status) }, (app) => {
    app.get('/slow', async () => {
      enter()
      await release
      return {}
    })
  })
  try {
    const request = httpRequest({ port: server.port, host: '127.0.0.1', path: '/slow' })
    request.on('error', () => {})
    request.end()
    await entered
    request.destroy()
    assert.equal(await finished, 499)
    go()
  } finally {
    go()
    await server.app.close()
  }
})
