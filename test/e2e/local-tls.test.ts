/** The command line beside a server that speaks TLS itself: its certificate is of a public name, asked is a loopback address. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { selfSigned } from '../certificate.ts'
import { startServer } from '../node.ts'

const directory = mkdtempSync(join(tmpdir(), 'sovra-tls-'))
// The server reads them as the user that it runs as.
chmodSync(directory, 0o755)
const made = (name: string) => {
  mkdirSync(join(directory, name))
  const { certFile, keyFile } = selfSigned(join(directory, name), ['api.example.org'])
  chmodSync(keyFile, 0o644)
  return { SOVRABASE_API_TLS_CERT_FILE: certFile, SOVRABASE_API_TLS_KEY_FILE: keyFile }
}
const [own, other] = [made('own'), made('other')]
const server = await startServer({ env: { ...own, SOVRABASE_DEMO: 'off' } })
const cli = makeCli(() => server.dataDir)
after(async () => {
  await server.stop()
  cli.remove()
  rmSync(directory, { recursive: true, force: true })
})

test('needs no login and no name: the certificate is the one of the configuration', async () => {
  assert.match(server.url, /^https:\/\/127\.0\.0\.1:/)
  const status = await cli.answer<{ isolation: string }>(['status'], { env: own })
  assert.ok(status.isolation)
  const checks = await cli.run(['doctor'], { env: own })
  assert.match(checks.out, /^ok +server:/m)
  assert.match(checks.out, /^ok +drift:/m)
})

test('the token goes to nobody with another certificate, of the same name or not', async () => {
  const gone = { ...own, SOVRABASE_API_TLS_CERT_FILE: join(directory, 'gone.pem') }
  for (const env of [other, gone, {}]) {
    const { code, err } = await cli.run(['status'], { env })
    assert.equal(code, 6, err)
    assert.match(err, /does not answer as it should/)
  }
})
