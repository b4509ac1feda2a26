import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { type Certificate, selfSigned } from '../../../../test/certificate.ts'
import { makeOutbound, type Outbound, type OutboundOptions } from './outbound.ts'

const directory = mkdtempSync(join(tmpdir(), 'sovra-outbound-'))
const open: (() => Promise<unknown>)[] = []
let certificate: Certificate
/** Two origins that echo, and answer as their path says; the second one is also reached over TLS. */
let first: string
let second: string
let secure: string

async function listen<S extends TcpServer | Server>(server: S, host = '127.0.0.1'): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket.once('close', () => sockets.delete(socket))))
  open.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

function outbound(options: Partial<OutboundOptions> = {}): Outbound {
  const made = makeOutbound({ allow: ['127.0.0.1/32'], ownListeners: () => [], caFile: null, proxy: null, ...options })
  open.unshift(() => made.close())
  return made
}

const names = (table: Record<string, readonly string[]>) => async (host: string) =>
  (table[host] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))

const answer: RequestListener = (request, response) => {
  const url = new URL(request.url ?? '/', 'http://x')
  const to = url.searchParams.get('to')
  if (to !== null) return response.writeHead(Number(url.searchParams.get('status') ?? 302), { location: to }).end('moved')
  if (url.pathname === '/huge') return Readable.from(endless()).pipe(response)
  if (url.pathname === '/declared') return response.writeHead(200, { 'content-length': 1 << 30 }).flushHeaders()
  if (url.pathname === '/silent') return
  if (url.pathname === '/drip') return response.writeHead(200).write('x')
  if (url.pathname === '/headers') return response.writeHead(200, { 'x-long': 'x'.repeat(40_000) }).end()
  if (url.pathname === '/bomb') return response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(8 << 20)))
  if (url.pathname === '/brotli') return response.writeHead(200, { 'content-encoding': 'br' }).end(brotliCompressSync('squeezed'))
  if (url.pathname === '/nested') return response.writeHead(200, { 'content-encoding': 'gzip, gzip' }).end('x')
  if (url.pathname === '/broken') return response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip')
  let body = ''
  request.on('data', (chunk) => (body += chunk))
  request.on('end', () => {
    response.end(
      JSON.stringify({ method: request.method, path: request.url, headers: request.headers, body, port: request.socket.localPort }),
    )
  })
}

async function* endless() {
  for (;;) yield Buffer.alloc(64 * 1024)
}

interface Echo {
  method: string
  path: string
  headers: Record<string, string>
  body: string
}
const echo = async (response: Promise<{ json(): Promise<unknown> }>) => (await (await response).json()) as Echo

before(async () => {
  certificate = selfSigned(directory, ['secure.test', '127.0.0.1'])
  first = `http://127.0.0.1:${await listen(createServer(answer))}`
  second = `http://127.0.0.1:${await listen(createServer(answer))}`
  secure = `https://secure.test:${await listen(createSecureServer(certificate, answer))}`
})

after(async () => {
  for (const close of open) await close()
  rmSync(directory, { recursive: true })
})

test('a request and its answer', async () => {
  const response = await outbound().fetch(`${first}/a?b=c`, { method: 'POST', headers: { 'X-Own': '1', Host: 'other' }, body: 'text' })
  const seen = (await response.json()) as Echo
  assert.deepEqual(
    [response.status, response.ok, response.redirected, seen.method, seen.path, seen.body],
    [200, true, false, 'POST', '/a?b=c', 'text'],
  )
  assert.equal(seen.headers['x-own'], '1')
  assert.equal(seen.headers.host, new URL(first).host)
  assert.equal(await (await outbound().fetch(`${first}/brotli`)).text(), 'squeezed')
})

test('nothing but the public internet is called, however it is written', async () => {
  const port = new URL(first).port
  const closed = outbound({
    allow: [],
    lookup: names({ 'in.test': ['10.0.0.1'], 'in.test.': ['10.0.0.1'], 'six.test': ['::ffff:127.0.0.1'] }),
  })
  const hosts = ['127.0.0.1', '127.1', '2130706433', '0x7f000001', '0x7f.1', '017700000001', '0177.0.0.1', '127.0.0.1.', '0.0.0.0', '0']
  const sixes = [
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[64:ff9b::127.0.0.1]',
    '[2002:7f00:1::]',
    '[fe80::1]',
    '[fd00::1]',
    '[::]',
  ]
  const tricks = [
    'public.test@127.0.0.1',
    'user:password@127.0.0.1',
    '127.0.0.1%2f',
    '[fe80::1%25eth0]',
    '[::1%251]',
    'in.test',
    'in.test.',
    'six.test',
  ]
  for (const host of [...hosts, ...sixes, ...tricks, '①②⑦.0.0.1', '127。0。0。1']) {
    await assert.rejects(closed.fetch(`http://${host}:${port}/`), { code: 'outbound_forbidden' }, host)
  }
  for (const url of ['file:///etc/passwd', 'ftp://127.0.0.1/', 'unix:/run/x', 'data:,x', 'nonsense', '']) {
    await assert.rejects(closed.fetch(url), { code: 'outbound_forbidden' }, url)
  }
  for (const host of [
    ...hosts,
    '::1',
    'fe80::1%eth0',
    'in.test',
    'a@127.0.0.1',
    '127.0.0.1:80',
    '127.0.0.1/',
    '127.0.0.1%00',
    ' 127.0.0.1',
    '',
  ]) {
    await assert.rejects(closed.connect(host, Number(port)), { code: 'outbound_forbidden' }, host)
  }
})

test('one forbidden address among several is enough', async () => {
  const mixed = outbound({ lookup: names({ 'mixed.test': ['127.0.0.1', '10.0.0.1'], 'zoned.test': ['127.0.0.1', 'fe80::1%2'] }) })
  await assert.rejects(mixed.fetch(`http://mixed.test:${new URL(first).port}/`), { code: 'outbound_forbidden' })
  await assert.rejects(mixed.fetch(`http://zoned.test:${new URL(first).port}/`), { code: 'outbound_forbidden' })
})

test('a changing DNS answer does not move the connection', async () => {
  let asked = 0
  const rebinding = outbound({ lookup: async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }] })
  assert.equal((await echo(rebinding.fetch(`http://moving.test:${new URL(first).port}/one`))).path, '/one')
  assert.equal(asked, 1)
  await assert.rejects(rebinding.fetch(`http://moving.test:${new URL(second).port}/`), { code: 'outbound_forbidden' })
  assert.equal(asked, 2)
})

test('our own listeners are never called, whatever is allowed', async () => {
  const port = Number(new URL(first).port)
  for (const host of ['127.0.0.1', '0.0.0.0', '::', '192.168.77.1']) {
    const own = outbound({
      allow: ['0.0.0.0/0', '::/0'],
      ownListeners: () => [{ host, port }],
      lookup: names({ 'own.test': ['::ffff:127.0.0.1'] }),
    })
    for (const to of ['127.0.0.1', '0.0.0.0', '[::1]', '[::ffff:127.0.0.1]', '127.9.9.9', 'own.test', '[64:ff9b::127.0.0.1]']) {
      await assert.rejects(own.fetch(`http://${to}:${port}/`), { code: 'outbound_forbidden', message: /this server/ }, to)
    }
    await assert.rejects(own.fetch(`${second}/?to=${first}/`), { code: 'outbound_forbidden' })
    assert.equal((await echo(own.fetch(`${second}/free`))).path, '/free')
  }
})

test('redirects go through the same door', async () => {
  const open = outbound({ lookup: names({ 'inside.test': ['10.0.0.1'] }) })
  const hop = (to: string, status = 302) => `${first}/?status=${status}&to=${encodeURIComponent(to)}`
  for (const to of [
    'http://inside.test/',
    'http://10.0.0.1/',
    'http://[::1]/',
    'file:///etc/passwd',
    'http://user@127.0.0.1/',
    '//127.0.0.2/',
  ]) {
    await assert.rejects(open.fetch(hop(to)), { code: 'outbound_forbidden' }, to)
  }
  const followed = await open.fetch(hop('/next'))
  assert.deepEqual([followed.redirected, followed.url], [true, `${first}/next`])
  await followed.bytes()
  const manual = await open.fetch(hop('http://10.0.0.1/'), { redirects: 0 })
  assert.deepEqual([manual.status, await manual.text()], [302, 'moved'])
  await assert.rejects(open.fetch(hop(hop(hop('/'))), { redirects: 2 }), { code: 'outbound_failed', message: /more than 2/ })
})

test('methods, bodies and credentials across redirects', async () => {
  const open = outbound()
  const headers = { Authorization: 'Bearer x', cookie: 'a=b', apikey: 'k', 'content-type': 'text/plain', 'x-own': '1' }
  const send = (to: string, status: number) =>
    echo(open.fetch(`${first}/?status=${status}&to=${encodeURIComponent(to)}`, { method: 'POST', body: 'text', headers }))
  const same = await send('/kept', 307)
  assert.deepEqual([same.method, same.body, same.headers.authorization, same.headers.apikey], ['POST', 'text', 'Bearer x', 'k'])
  const away = await send(`${second}/away`, 308)
  assert.deepEqual([away.method, away.body, away.headers['x-own']], ['POST', 'text', '1'])
  assert.deepEqual([away.headers.authorization, away.headers.cookie, away.headers.apikey], [undefined, undefined, undefined])
  for (const status of [301, 302, 303]) {
    const got = await send('/got', status)
    assert.deepEqual([got.method, got.body, got.headers['content-type']], ['GET', '', undefined])
  }
  const streamed = open.fetch(`${first}/?status=307&to=/x`, { method: 'POST', body: Readable.from([Buffer.from('a')]) })
  await assert.rejects(streamed, { code: 'outbound_failed', message: /streamed/ })
})

test('network.ca_file, and no credentials from https to http', async () => {
  const lookup = names({ 'secure.test': ['127.0.0.1'], 'other.test': ['127.0.0.1'] })
  await assert.rejects(outbound({ lookup }).fetch(secure), { code: 'outbound_failed' })
  const trusting = outbound({ lookup, caFile: certificate.certFile })
  assert.equal((await echo(trusting.fetch(`${secure}/tls`))).path, '/tls')
  await assert.rejects(trusting.fetch(secure.replace('secure.test', 'other.test')), { code: 'outbound_failed', message: /ALTNAME/ })
  const down = `${secure}/?to=${first}/plain`
  assert.equal((await echo(trusting.fetch(down))).path, '/plain')
  await assert.rejects(trusting.fetch(down, { headers: { authorization: 'x' } }), { code: 'outbound_forbidden', message: /without TLS/ })
  assert.throws(() => outbound({ caFile: join(directory, 'none.pem') }), { code: 'outbound_settings_invalid' })
  const socket = await trusting.connect('secure.test', Number(new URL(secure).port), { tls: true })
  assert.ok('encrypted' in socket && socket.encrypted)
  socket.destroy()
})

test('limits of size', async () => {
  const small = outbound({ limits: { bytes: 100_000 } })
  for (const path of ['/huge', '/bomb']) {
    const response = await small.fetch(first + path)
    await assert.rejects(response.bytes(), { code: 'outbound_too_large' }, path)
  }
  await assert.rejects(small.fetch(`${first}/declared`), { code: 'outbound_too_large' })
  await assert.rejects(small.fetch(`${first}/headers`), { code: 'outbound_too_large' })
  await assert.rejects(small.fetch(`${first}/nested`), { code: 'outbound_failed' })
  await assert.rejects((await small.fetch(`${first}/broken`)).bytes(), { code: 'outbound_failed' })
  await assert.rejects(small.fetch(`${first}/a`, { maxBytes: 5 }), { code: 'outbound_too_large' })
  const raw = await small.fetch(`${first}/bomb`, { decode: false })
  assert.equal((await raw.bytes()).subarray(0, 2).toString('hex'), '1f8b')
})

test('limits of time, and a caller who gives up', async () => {
  const quick = outbound({ limits: { headers: 200, idle: 200, total: 10_000 } })
  await assert.rejects(quick.fetch(`${first}/silent`), { code: 'outbound_timeout' })
  await assert.rejects((await quick.fetch(`${first}/drip`)).bytes(), { code: 'outbound_timeout' })
  await assert.rejects((await outbound().fetch(`${first}/drip`, { timeout: 200 })).bytes(), {
    code: 'outbound_timeout',
    message: /whole call/,
  })
  const stuck = outbound({ lookup: () => new Promise(() => {}), limits: { connect: 100 } })
  await assert.rejects(stuck.fetch('http://slow.test/'), { code: 'outbound_timeout' })
  await assert.rejects(stuck.connect('slow.test', 25), { code: 'outbound_timeout' })
  const mute = await listen(createTcpServer())
  await assert.rejects(outbound({ limits: { connect: 200 } }).connect('127.0.0.1', mute, { tls: true }), { code: 'outbound_timeout' })
  const controller = new AbortController()
  const response = await outbound().fetch(`${first}/drip`, { signal: controller.signal })
  controller.abort()
  await assert.rejects(response.bytes(), { code: 'outbound_failed', message: /cancelled/ })
  await assert.rejects(outbound().fetch(first, { signal: AbortSignal.abort() }), { code: 'outbound_failed' })
})

test('failures name their reason, never an address', async () => {
  const gone = createTcpServer()
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
  const port = (gone.address() as AddressInfo).port
  await new Promise((resolve) => gone.close(resolve))
  const named = outbound({ lookup: names({ 'gone.test': ['127.0.0.1'] }) })
  await assert.rejects(named.fetch(`http://gone.test:${port}/`), {
    code: 'outbound_failed',
    message: /gone\.test failed: the connection was refused/,
  })
  await assert.rejects(named.fetch('http://nothing.test/'), { code: 'outbound_failed', message: /does not resolve/ })
})

test('through a proxy: the checked address is asked for, never a forbidden one', async () => {
  const asked: string[] = []
  const proxy = createServer()
  proxy.on('connect', (request, socket, head) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`)
    if (request.headers['proxy-authorization'] === undefined) return socket.end('HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n')
    const [host, port] = request.url!.split(':')
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.write(head)
      upstream.pipe(socket).pipe(upstream)
    })
    upstream.on('error', () => socket.destroy())
    socket.on('error', () => upstream.destroy())
  })
  const at = await listen(proxy)
  const lookup = names({ 'secure.test': ['127.0.0.1'], 'inside.test': ['10.0.0.1'] })
  const through = outbound({ lookup, caFile: certificate.certFile, proxy: `http://me:p%40ss@127.0.0.1:${at}` })
  assert.equal((await echo(through.fetch(`${secure}/p`))).path, '/p')
  assert.equal((await echo(through.fetch(`${first}/q`))).path, '/q')
  await assert.rejects(through.fetch('http://inside.test/'), { code: 'outbound_forbidden' })
  const word = `Basic ${Buffer.from('me:p@ss').toString('base64')}`
  assert.deepEqual(asked, [`127.0.0.1:${new URL(secure).port} ${word}`, `${new URL(first).host} ${word}`])
  const refused = outbound({ lookup, proxy: `http://127.0.0.1:${at}` })
  await assert.rejects(refused.fetch(first), { code: 'outbound_failed', message: /407/ })
  assert.throws(() => outbound({ proxy: 'socks5://x' }), { code: 'outbound_settings_invalid' })
})
