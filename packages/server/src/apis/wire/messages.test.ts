import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cancels } from './cancels.ts'
import { cancelPacket, endsReady, frame, isRefusal, parseStartup, startupPacket } from './messages.ts'
import { choosePort, isFree } from './port.ts'
import { targetOf } from './start.ts'

const ref = 'abcdefghijklmnopqrst'
const target = (entries: Record<string, string>, version = 196_608) => {
  const parsed = parseStartup(startupPacket(version, new Map(Object.entries(entries))))
  assert.ok('kind' in parsed && parsed.kind === 'startup')
  return targetOf(parsed)
}

test('the user names role and project, the database is postgres unless said', () => {
  const found = target({ user: `postgres.${ref}`, application_name: 'x' })
  assert.ok(!isRefusal(found))
  assert.deepEqual(
    [found.role, found.ref, Object.fromEntries(found.parameters)],
    ['postgres', ref, { user: 'postgres', application_name: 'x', database: 'postgres' }],
  )
  const named = (database: string) => {
    const result = target({ user: `a.b.${ref}`, database })
    return isRefusal(result) ? result : [result.role, result.parameters.get('database')]
  }
  assert.deepEqual(named(`a.b.${ref}`), ['a.b', 'postgres'])
  assert.deepEqual(named('other'), ['a.b', 'other'])
})

test('users that name no project, and roles that are ours, are refused', () => {
  const users = [
    '',
    'postgres',
    `.${ref}`,
    `postgres.${ref.toUpperCase()}`,
    'postgres.short',
    `${'x'.repeat(64)}.${ref}`,
    `postgres.${ref}.`,
  ]
  const ours = [
    'sovrabase_admin',
    'sovrabase_gateway',
    'sovrabase_new',
    'authenticator',
    'anon',
    'service_role',
    'supabase_admin',
    'pg_monitor',
  ]
  for (const user of [...users, ...ours.map((role) => `${role}.${ref}`)]) assert.ok(isRefusal(target({ user })), user)
  assert.ok(isRefusal(target({ user: `postgres.${ref}`, replication: 'true' })))
  assert.ok(!isRefusal(target({ user: `postgres.${ref}`, replication: 'database' })))
})

test('newer protocols and options are negotiated down', () => {
  const found = target({ user: `postgres.${ref}`, '_pq_.x': '1' }, (3 << 16) | 9)
  assert.ok(!isRefusal(found))
  assert.equal(found.version, (3 << 16) | 2)
  assert.ok(!found.parameters.has('_pq_.x'))
  assert.equal(found.negotiate?.toString('latin1'), frame('v', Buffer.from('\0\x03\0\x02\0\0\0\x01_pq_.x\0', 'latin1')).toString('latin1'))
})

test('start-up packets that are none', () => {
  const packet = (code: number, body: string) => {
    const whole = Buffer.alloc(8 + body.length)
    whole.writeUInt32BE(whole.length, 0)
    whole.writeUInt32BE(code, 4)
    whole.write(body, 8, 'latin1')
    return parseStartup(whole)
  }
  for (const body of ['', 'user', 'user\0', 'user\0x', 'user\0x\0', '\0x\0\0', 'user\0x\0\0\0', 'user\0x\0y\0\0'])
    assert.ok(isRefusal(packet(196_608, body)), JSON.stringify(body))
  assert.ok(isRefusal(packet(131_072, 'x')))
  assert.ok(isRefusal(packet(80_877_102, '1234')))
  assert.ok(isRefusal(packet(80_877_102, 'x'.repeat(300))))
  assert.deepEqual(parseStartup(cancelPacket(-5, Buffer.from('abcd'))), { kind: 'cancel', pid: -5, secret: Buffer.from('abcd') })
})

test('the end of a statement is seen at the end of a piece', () => {
  const ready = frame('Z', Buffer.from('I'))
  const [row, notice, notification] = [frame('D', Buffer.alloc(40)), frame('N', Buffer.from('x\0')), frame('A', Buffer.alloc(9))]
  assert.ok(endsReady(ready))
  assert.ok(endsReady(Buffer.concat([row, ready])))
  assert.ok(endsReady(Buffer.concat([row, ready, notice, notification])))
  for (const piece of [
    row,
    notice,
    Buffer.concat([ready, row]),
    ready.subarray(0, 5),
    Buffer.alloc(0),
    Buffer.concat([ready, notice.subarray(0, 4)]),
  ])
    assert.ok(!endsReady(piece))
  assert.ok(!endsReady(Buffer.alloc(65_536, 0x5a)))
})

test('cancel keys are found by both halves, and forgotten', () => {
  const cancels = new Cancels()
  const endpoint = { service: 's', host: '/x', port: 5432, run: '1' }
  const [short, long] = [4, 32].map((length) => cancels.issue({ endpoint, pid: 7, secret: Buffer.alloc(length) }))
  assert.deepEqual([short!.secret.length, long!.secret.length], [4, 32])
  assert.notEqual(short!.pid, long!.pid)
  assert.equal(cancels.find(short!.pid, short!.secret)?.pid, 7)
  assert.equal(cancels.find(short!.pid, Buffer.alloc(4)), null)
  assert.equal(cancels.find(short!.pid, long!.secret), null)
  short!.forget()
  assert.equal(cancels.find(short!.pid, short!.secret), null)
})

test('the port: configured, recorded, 5432, 6432 and up', async () => {
  const busy =
    (...ports: number[]) =>
    async (_host: string, port: number) =>
      !ports.includes(port)
  const host = '127.0.0.1'
  assert.equal(await choosePort({ host, free: busy() }), 5432)
  assert.equal(await choosePort({ host, free: busy(5432, 6432) }), 6433)
  assert.equal(await choosePort({ host, recorded: 6440, free: busy() }), 6440)
  assert.equal(await choosePort({ host, configured: 7000, recorded: 6440, free: busy() }), 7000)
  assert.equal(await choosePort({ host, configured: 0 }), 0)
  await assert.rejects(choosePort({ host, recorded: 6440, free: busy(6440) }), { code: 'wire_port_busy', hint: /SOVRABASE_WIRE_PORT/ })
  await assert.rejects(choosePort({ host, configured: 5432, free: busy(5432) }), { code: 'wire_port_busy' })
  await assert.rejects(choosePort({ host, free: async () => false }), { code: 'wire_port_none' })
  assert.equal(await isFree(host, 0), true)
})
