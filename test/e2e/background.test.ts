/** `sovra start --background`, `stop`, and following the log of a running server. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { makeCli } from '../../packages/cli/src/cli.testing.ts'
import { alive, family } from '../processes.ts'
import { until } from '../until.ts'

const data = mkdtempSync(join(tmpdir(), 'sovra-background-'))
const cli = makeCli(() => data)
const env = {
  CONFIG_PATH: join(data, 'config.yaml'),
  SOVRABASE_API_PORT: '0',
  SOVRABASE_ADMIN_PORT: '0',
  SOVRABASE_WIRE_PORT: '0',
  SOVRABASE_DEMO: 'off',
}
let pid = 0
after(() => {
  try {
    if (pid !== 0) process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended, as it should.
  }
  cli.remove()
  rmSync(data, { recursive: true, force: true })
})

test('it returns when the server answers; its log can be followed; stop leaves nothing running', async () => {
  const started = await cli.answer<{ running: boolean; pid: number; url: string }>(['start', '--background'], { env })
  pid = started.pid
  assert.equal(started.running, true)
  assert.equal((await fetch(`${started.url}/health`)).status, 200)
  const second = await cli.run(['start', '--background'], { env })
  assert.equal(second.code, 3)

  const follower = cli.start(['logs', '--follow', '--json', '--limit', '1'])
  let heard = ''
  follower.child.stdout?.on('data', (text: Buffer) => (heard += text))
  await until(() => heard.includes('\n'))
  await cli.run(['orgs', 'list'])
  await until(() => heard.includes('"route":"/v1/organisations"'))
  const line = heard.split('\n').find((text) => text.includes('/v1/organisations')) ?? ''
  const { request_id } = JSON.parse(line) as { request_id: string }
  const found = await cli.run(['logs', '--request', request_id, '--json'])
  assert.equal(found.out.trim(), line)
  assert.equal((await cli.run(['logs', '--level', 'fatal'])).out, '')

  const all = family(pid)
  const stopped = await cli.answer<{ stopped: number }>(['stop'])
  assert.equal(stopped.stopped, pid)
  assert.deepEqual(alive(all), [])
  // The server ends answers that have no end of their own: the drain waits for none.
  assert.equal((await follower.ended).code, 0)
  assert.equal((await cli.run(['stop'])).code, 6)
})

test('a start that fails says why and ends with the exit code of the server', async () => {
  const failed = await cli.run(['start', '--background'], { env: { ...env, SOVRABASE_API_PORT: 'many' } })
  assert.equal(failed.code, 2)
  assert.match(failed.out, /api\.port/)
})
