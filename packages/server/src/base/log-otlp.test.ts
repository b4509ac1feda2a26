import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { until } from '../../../../test/until.ts'
import { exportLogs, headersOf, recordOf } from './log-otlp.ts'

interface Sent {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

const sent: Sent[] = []
let status = 200
const collector = createServer((request, response) => {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const all = Buffer.concat(parts)
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(all) : all
    sent.push({ headers: request.headers, body: body.toString() })
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
  })
})
await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
after(() => collector.close())

const line = (more: object) => JSON.stringify({ level: 'warn', time: '2026-11-26T12:00:00.000Z', ...more, msg: 'said' })

test('a line becomes a record: severity, time, body, attributes, its error by the words of OpenTelemetry', () => {
  const record = recordOf(line({ project: 'p', counts: { jobs: 2 }, err: { type: 'Error', message: 'm', stack: 's' } }))
  assert.equal(record?.severityNumber, 13)
  assert.equal(record?.severityText, 'WARN')
  assert.equal(record?.body, 'said')
  assert.equal(record?.timestamp.toISOString(), '2026-11-26T12:00:00.000Z')
  assert.deepEqual(record?.attributes, {
    project: 'p',
    counts: '{"jobs":2}',
    'exception.type': 'Error',
    'exception.message': 'm',
    'exception.stacktrace': 's',
  })
  assert.equal(recordOf('no JSON'), undefined)
  assert.deepEqual(headersOf('authorization=Bearer%20x, team=a'), { authorization: 'Bearer x', team: 'a' })
  assert.deepEqual(headersOf(null), {})
})

test('lines from before the library was there arrive, with the headers; what fails is told once, and when it works again', async () => {
  const states: string[] = []
  const { port } = collector.address() as AddressInfo
  const out = exportLogs({
    url: `http://127.0.0.1:${port}/v1/logs`,
    headers: { authorization: 'Bearer x' },
    caFile: null,
    version: '1.2.3',
    onChange: (state) => states.push(state),
  })
  out.write(line({ early: 'one' }))
  await until(() => sent.length > 0, 30_000)
  assert.match(sent[0]?.body ?? '', /"early".*"one"/)
  assert.match(sent[0]?.body ?? '', /"service\.version"/)
  assert.equal(sent[0]?.headers.authorization, 'Bearer x')
  status = 400
  out.write(line({}))
  await until(() => states.length === 1, 30_000)
  status = 200
  out.write(line({ last: 'one' }))
  await out.close()
  assert.deepEqual(states, ['failing', 'well'])
  assert.match(sent.at(-1)?.body ?? '', /"last"/)
})
