/** The recipes of docs/proxy.md, run as they stand there: only names, ports and files of certificates are the test's. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { selfSigned } from '../certificate.ts'
import { freePort } from '../s3.ts'
import { until } from '../until.ts'

const dir = mkdtempSync(join(tmpdir(), 'sovra-proxy-'))
const { cert, certFile, keyFile } = selfSigned(dir, ['localhost'])
const docs = readFileSync(resolve(import.meta.dirname, '../../docs/proxy.md'), 'utf8')
const children: ChildProcess[] = []
const PATIENCE = 30_000
const GIGABYTES = 5 * 1024 ** 3

/** What stands behind the proxy: it tells what it got, streams, takes uploads, and answers WebSockets. */
let received = 0
const upstream = createServer({ maxHeaderSize: 65_536 }, (incoming, response) => {
  if (incoming.url === '/stream') {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n')
    incoming.socket.once('close', () => response.end())
    return
  }
  if (incoming.url === '/upload') {
    incoming.on('data', (part: Buffer) => {
      received += part.length
    })
    return
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(incoming.headers))
})
upstream.on('upgrade', (incoming: IncomingMessage, socket) => {
  const key = `${incoming.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash('sha1').update(key).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nhello`,
  )
  socket.on('error', () => socket.destroy())
})
await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done))
after(() => {
  for (const child of children) child.kill('SIGTERM')
  upstream.closeAllConnections()
  upstream.close()
  rmSync(dir, { recursive: true, force: true })
})

function recipe(language: string): string {
  const text = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(docs)?.[1]
  assert.ok(text, language)
  return text
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${(upstream.address() as AddressInfo).port}`)
    .replaceAll('/etc/ssl/sovrabase.pem', certFile)
    .replaceAll('/etc/ssl/sovrabase.key', keyFile)
}

function start(program: string, args: readonly string[]): void {
  const env = { ...process.env, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir }
  children.push(spawn('setpriv', ['--pdeathsig=KILL', '--', program, ...args], { env, cwd: dir, stdio: 'ignore' }))
}

const PROXIES = {
  caddy(port: number): void {
    const file = join(dir, 'Caddyfile')
    const text = recipe('caddyfile').replace(/^api\.example\.org.*\{/m, `https://localhost:${port} {\n\tbind 127.0.0.1`)
    writeFileSync(file, `{\n\tadmin off\n\tauto_https off\n}\n${text}`)
    start('caddy', ['run', '--config', file, '--adapter', 'caddyfile'])
  },
  nginx(port: number): void {
    const file = join(dir, 'nginx.conf')
    const text = recipe('nginx')
      .replace('listen 443', `listen 127.0.0.1:${port}`)
      .replace(/server_name .*;/, 'server_name localhost;')
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${join(dir, name)};`)
    const user = process.geteuid?.() === 0 ? 'user root;' : ''
    writeFileSync(
      file,
      `${user} pid ${join(dir, 'pid')}; error_log /dev/null; events {} http { access_log off; ${temporary.join(' ')}\n${text}}`,
    )
    start('nginx', ['-p', dir, '-c', file, '-g', 'daemon off;'])
  },
} as const

function missing(program: string): string | false {
  try {
    execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin" command -v ${program}`], { stdio: 'ignore' })
    return false
  } catch {
    return process.env.CI === 'true' ? false : `no ${program} here: scripts/test-tools.sh`
  }
}

interface Answer {
  readonly status: number
  readonly text: string
}

/** The whole answer, or as much as satisfies `enough`. */
function ask(port: number, path: string, options: object = {}, enough?: (text: string) => boolean): Promise<Answer> {
  return new Promise((done, failed) => {
    const asked = request({ host: '127.0.0.1', servername: 'localhost', port, path, ca: cert, agent: false, ...options }, (answer) => {
      let text = ''
      const end = () => {
        done({ status: answer.statusCode ?? 0, text })
        asked.destroy()
      }
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (enough?.(text)) end()
      })
      answer.once('end', end)
      answer.on('error', () => {})
    })
    asked.on('error', failed)
    asked.end()
  })
}

for (const name of ['caddy', 'nginx'] as const) {
  test(`${name}: TLS, the caller, a WebSocket, a stream, a large upload`, { skip: missing(name) }, async () => {
    const port = await freePort()
    PROXIES[name](port)
    const host = { host: `localhost:${port}` }
    await until(async () => (await ask(port, '/', { headers: host }).catch(() => null))?.status === 200, PATIENCE)

    const forged = { ...host, 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'http', 'x-long': 'x'.repeat(40_000) }
    const seen = JSON.parse((await ask(port, '/', { headers: forged })).text) as Record<string, string>
    assert.equal(seen.host, `localhost:${port}`)
    assert.equal(seen['x-forwarded-for']?.split(', ').at(-1), '127.0.0.1')
    assert.equal(seen['x-forwarded-proto'], 'https')
    assert.equal(seen['x-long']?.length, 40_000)

    assert.equal((await ask(port, '/stream', { headers: host }, (text) => text.includes('data: first\n\n'))).status, 200)

    const greeted = await new Promise<string>((done, failed) => {
      const asked = request({
        host: '127.0.0.1',
        servername: 'localhost',
        port,
        ca: cert,
        agent: false,
        headers: {
          ...host,
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        },
      })
      asked.on('error', failed)
      asked.once('response', (answer) => failed(new Error(`status ${answer.statusCode}`)))
      asked.once('upgrade', (_answer, socket, head) => {
        const greet = (text: Buffer) => {
          done(text.toString())
          socket.destroy()
        }
        if (head.length > 0) greet(head)
        else socket.once('data', greet)
        socket.on('error', () => {})
      })
      asked.end()
    })
    assert.equal(greeted, 'hello')

    // Its length says 5 GB: refused at once where a limit stands, kept back where it is buffered. The first of it arriving shows neither is so.
    received = 0
    const upload = request({
      host: '127.0.0.1',
      servername: 'localhost',
      port,
      path: '/upload',
      method: 'POST',
      ca: cert,
      agent: false,
      headers: { ...host, 'content-length': GIGABYTES },
    })
    const refused = new Promise<never>((_, failed) =>
      upload.once('response', ({ statusCode }) => failed(new Error(`refused with ${statusCode}`))),
    )
    upload.on('error', () => {})
    const part = Buffer.alloc(1 << 20)
    for (let sent = 0; sent < 32; sent++) upload.write(part)
    await Promise.race([refused, until(() => received >= 32 << 20, PATIENCE)])
    upload.destroy()
  })
}
