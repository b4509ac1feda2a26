import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect } from 'node:tls'
import { type Certificate, selfSigned } from '../../../../test/certificate.ts'
import { until } from '../../../../test/until.ts'
import { makeHttp } from './http.ts'
import { silentLog } from './log.ts'
import { watchTls } from './tls.ts'

const directory = mkdtempSync(join(tmpdir(), 'sovrabase-tls-'))
after(() => rmSync(directory, { recursive: true, force: true }))

function certificate(name: string): Certificate {
  mkdirSync(join(directory, name))
  return selfSigned(join(directory, name), ['127.0.0.1'])
}

const shown = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.toString() ?? '')
      socket.destroy()
    })
    socket.on('error', reject)
  })

test('a renewed certificate is used without a restart; half a renewal is waited out', async () => {
  const [first, second] = [certificate('first'), certificate('second')]
  const files = { cert_file: join(directory, 'cert.pem'), key_file: join(directory, 'key.pem') }
  const used: string[] = []
  writeFileSync(files.cert_file, first.cert)
  writeFileSync(files.key_file, first.key)
  let refused = 0
  const log = { ...silentLog, info: () => {}, warn: () => void refused++ } as unknown as typeof silentLog
  const app = makeHttp({ log: silentLog, tls: files })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const unwatch = watchTls(
    files,
    (pair) => {
      used.push(pair.cert)
      ;(app.server as unknown as { setSecureContext(pair: object): void }).setSecureContext(pair)
    },
    log,
    20,
  )
  try {
    assert.equal(await shown(port), first.cert)
    writeFileSync(files.cert_file, second.cert)
    await until(async () => refused === 1)
    assert.equal(await shown(port), first.cert)
    writeFileSync(files.key_file, second.key)
    await until(async () => used.length === 1)
    assert.equal(await shown(port), second.cert)
    rmSync(files.key_file)
    await until(async () => refused === 2)
    assert.equal(await shown(port), second.cert)
  } finally {
    unwatch()
    await app.close()
  }
})

test('no files: no TLS; files that cannot be read stop the start', () => {
  const tls = { cert_file: join(directory, 'none.pem'), key_file: join(directory, 'none.key') }
  assert.throws(() => makeHttp({ log: silentLog, tls }), { code: 'tls_unreadable' })
})
