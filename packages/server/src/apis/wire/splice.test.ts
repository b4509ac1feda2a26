import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { until } from '../../../../../test/until.ts'
import { Splice } from './splice.ts'

const READY = Buffer.from('5a0000000549', 'hex')
const ROW = Buffer.from('440000000b00010000000178', 'hex')

describe('a spliced session', () => {
  const server = createServer({ allowHalfOpen: true })
  let port = 0
  /** Two connected sockets. */
  async function pair(): Promise<[Socket, Socket]> {
    const accepted = once(server, 'connection')
    const ours = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    const [theirs] = (await accepted) as [Socket]
    return [ours, theirs]
  }
  before(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })
  after(() => server.close())

  async function session() {
    const [[client, clientEnd], [cluster, clusterEnd]] = [await pair(), await pair()]
    let closed = 0
    const splice = new Splice({ client: clientEnd, cluster: clusterEnd, now: () => 1, closed: () => closed++ })
    splice.start(Buffer.alloc(0), Buffer.alloc(0))
    const end = async () => {
      splice.destroy()
      await until(() => closed === 1)
      for (const socket of [client, cluster]) socket.destroy()
    }
    return { client, cluster, splice, end }
  }

  for (let cut = 1; cut < READY.length; cut++) {
    test(`a statement is through although its last message came in two pieces, cut at ${cut}`, async () => {
      const { client, cluster, splice, end } = await session()
      const got: Buffer[] = []
      client.on('data', (chunk: Buffer) => got.push(chunk))
      const length = () => Buffer.concat(got).length
      client.write('Q')
      await until(() => splice.busy)
      cluster.write(Buffer.concat([ROW, READY.subarray(0, cut)]))
      await until(() => length() === ROW.length + cut)
      assert.ok(splice.busy)
      cluster.write(READY.subarray(cut))
      await until(() => !splice.busy)
      await until(() => length() === ROW.length + READY.length)
      await end()
    })
  }

  const TERMINATE = Buffer.from('5800000004', 'hex')

  test('a goodbye is no work, and is answered with none', async () => {
    const { client, cluster, splice, end } = await session()
    const passed = once(cluster, 'data')
    client.write(TERMINATE)
    assert.deepEqual(await passed, [TERMINATE])
    assert.equal(splice.busy, false)
    const [said] = [once(client, 'end'), client.on('data', () => assert.fail('a word to one who has left'))]
    splice.end({ code: '57P01', message: 'it sleeps' })
    await said
    await end()
  })

  test('within a statement the same bytes are data', async () => {
    const { client, cluster, splice, end } = await session()
    client.write('Q')
    await once(cluster, 'data')
    client.write(TERMINATE)
    await once(cluster, 'data')
    assert.ok(splice.busy)
    await end()
  })
})
