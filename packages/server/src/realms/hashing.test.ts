import assert from 'node:assert/strict'
import { pbkdf2Sync, scryptSync } from 'node:crypto'
import { test } from 'node:test'
import { hashSync } from 'bcryptjs'
import { isSovraError } from '../base/errors.ts'
import { makeHasher, parsePhc } from './hashing.ts'

test('a hash is a PHC string of argon2id with 19 MiB and two passes, and verifies', async () => {
  const hasher = makeHasher()
  const phc = await hasher.hash('correct horse')
  assert.match(phc, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  assert.deepEqual(await hasher.verify('correct horse', phc), { ok: true, outdated: false })
  assert.deepEqual(await hasher.verify('wrong horse', phc), { ok: false, outdated: false })
  assert.notEqual(await hasher.hash('correct horse'), phc)
})

test('a hash of another tool verifies, and a weaker one is outdated', async () => {
  // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 (the reference implementation's test vector)
  const reference = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'
  const weaker = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'
  const hasher = makeHasher()
  assert.deepEqual(await hasher.verify('password', reference), { ok: true, outdated: false })
  assert.deepEqual(await hasher.verify('password', weaker), { ok: true, outdated: true })
})

test('what is no hash of ours never verifies', async () => {
  const hasher = makeHasher()
  const rows = [
    null,
    '',
    'plain',
    '$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAAAAAAAA',
    '$2a$99$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    '$scrypt$ln=30,r=8,p=1$AAAA$AAAA',
    '$pbkdf2-sha256$i=99999999$AAAA$AAAA',
    `$pbkdf2-sha512$i=5000000$AAAA$${'A'.repeat(1_000)}`,
    `$scrypt$ln=10,r=8,p=1$AAAA$${'A'.repeat(1_000)}`,
    '$fbscrypt$v=1,n=40,r=8,p=1,ss=AA==,sk=AA==$AA==$AA==',
    '$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAAAAAAAA',
  ]
  for (const stored of rows) assert.deepEqual(await hasher.verify('plain', stored), { ok: false, outdated: false })
})

test('parameters that would exhaust the machine are refused', () => {
  const of = (parameters: string) => parsePhc(`$argon2id$v=19$${parameters}$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAAAAAAAA`)
  assert.ok(of('m=19456,t=2,p=1'))
  for (const parameters of [
    'm=262145,t=2,p=1',
    'm=19456,t=17,p=1',
    'm=19456,t=2,p=9',
    'm=19456,t=0,p=1',
    'm=4,t=2,p=1',
    'm=19456,t=2,p=0',
  ]) {
    assert.equal(of(parameters), null, parameters)
  }
})

test('over-long passwords are refused before any work', async () => {
  const hasher = makeHasher()
  await assert.rejects(hasher.hash('x'.repeat(1025)), (error) => isSovraError(error, 'password_too_weak'))
  assert.equal((await hasher.verify('x'.repeat(1025), null)).ok, false)
})

test('at most `concurrency` run, `queue` wait, and the rest is 429 with Retry-After', async () => {
  const hasher = makeHasher({ concurrency: 1, queue: 2 })
  const storm = Array.from({ length: 5 }, () => hasher.verify('x', null))
  assert.equal(hasher.waiting, 2)
  const results = await Promise.allSettled(storm)
  assert.deepEqual(
    results.map((result) => result.status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
  )
  const refused = results[4] as PromiseRejectedResult
  assert.ok(isSovraError(refused.reason, 'too_many_sign_ins') && refused.reason.headers?.['retry-after'] === '2')
  assert.equal(hasher.waiting, 0)
  assert.equal((await hasher.verify('x', null)).ok, false)
})

test('hashes of other systems verify, and are outdated', async () => {
  const hasher = makeHasher()
  const salt = Buffer.from('salt and more')
  const derived = pbkdf2Sync('correct horse', salt, 1000, 32, 'sha256').toString('base64').replace(/=+$/, '')
  const scrypted = scryptSync('correct horse', salt, 32, { N: 1024, r: 8, p: 1 }).toString('base64').replace(/=+$/, '')
  const text = salt.toString('base64').replace(/=+$/, '')
  const rows: [string, string][] = [
    ['correct horse', hashSync('correct horse', 4)],
    ['correct horse', `$pbkdf2-sha256$i=1000$${text}$${derived}`],
    ['correct horse', `$pbkdf2-sha256$1000$${text.replaceAll('+', '.')}$${derived.replaceAll('+', '.')}`],
    ['correct horse', `pbkdf2_sha256$1000$${salt}$${derived}`],
    ['correct horse', `$scrypt$ln=10,r=8,p=1$${text}$${scrypted}`],
    // The example of Firebase's own scrypt repository.
    [
      'user1password',
      '$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==',
    ],
  ]
  for (const [password, stored] of rows) {
    assert.deepEqual(await hasher.verify(password, stored), { ok: true, outdated: true }, stored)
    assert.equal((await hasher.verify(`${password}!`, stored)).ok, false, stored)
  }
})

test('realms take turns, however many hashes one of them wants', async () => {
  const hasher = makeHasher({ concurrency: 1, queue: 3 })
  const [busy, other] = [hasher.of('busy'), hasher.of('other')]
  const ended: string[] = []
  const mark = (name: string) => () => ended.push(name)
  const all = [
    ...[1, 2, 3, 4].map((n) => busy.verify('x', null).then(mark(`busy ${n}`))),
    other.verify('x', null).then(mark('other')),
    hasher.verify('x', null).then(mark('platform')),
  ]
  await assert.rejects(busy.verify('x', null), (error) => isSovraError(error, 'too_many_sign_ins'))
  assert.equal(hasher.waiting, 5)
  await Promise.all(all)
  assert.deepEqual(ended, ['busy 1', 'busy 2', 'other', 'platform', 'busy 3', 'busy 4'])
})
