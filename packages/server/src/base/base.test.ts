import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { expiringMap, loadingCache, singleFlight } from './cache.ts'
import { safeEqual, sha256 } from './crypto.ts'
import { fail, isSovraError } from './errors.ts'
import { isProjectRef, projectRef, randomToken, requestId, uuid } from './ids.ts'
import { makeLog } from './log.ts'
import { makeMetrics } from './metrics.ts'
import { distance, nearest } from './nearest.ts'
import { checkNode } from './node-version.ts'
import { checkPlatform } from './platform.ts'
import { budgetKey } from './proxies.ts'
import { makeRate } from './rate.ts'
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts'

test('ids: shape, order, no repetition', () => {
  const refs = Array.from({ length: 200 }, projectRef)
  assert.ok(refs.every(isProjectRef))
  assert.equal(new Set(refs).size, 200)
  assert.equal(new Set(refs.join('')).size, 26)
  const ids = Array.from({ length: 100 }, uuid)
  assert.deepEqual(ids, [...ids].sort())
  assert.match(uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(randomToken(32).length, 43)
  assert.match(requestId(), /^[\w-]{12}-[0-9a-z]+$/)
  assert.notEqual(requestId(), requestId())
})

test('hash and comparison', () => {
  assert.equal(sha256('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  assert.ok(safeEqual('same', 'same'))
  assert.ok(!safeEqual('same', 'same ') && !safeEqual('', 'x'))
})

test('durations and sizes', () => {
  const durations: [string, number | undefined][] = [
    ['250ms', 250],
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['14d', 1_209_600_000],
    ['5', undefined],
    ['5 m', undefined],
    ['-5m', undefined],
    ['5m!', undefined],
    ['', undefined],
  ]
  for (const [text, ms] of durations) assert.equal(parseDuration(text), ms, text)
  const sizes: [string, number | undefined][] = [
    ['64KiB', 65_536],
    ['1.5 GiB', 1_610_612_736],
    ['10MB', 10_000_000],
    ['7B', 7],
    ['7', undefined],
    ['7KB', undefined],
    ['1e3B', undefined],
  ]
  for (const [text, size] of sizes) assert.equal(parseBytes(text), size, text)
  assert.equal(formatDuration(5_400_250), '1h30m250ms')
  assert.equal(formatDuration(0), '0s')
  assert.equal(formatBytes(1_610_612_736), '1.5 GiB')
  assert.equal(formatBytes(0), '0 B')
})

test('the nearest word', () => {
  assert.equal(distance('prot', 'port'), 1)
  assert.equal(distance('', 'abc'), 3)
  assert.equal(distance('kitten', 'sitting'), 3)
  assert.deepEqual(nearest('hots', ['port', 'host', 'tls']), { word: 'host', distance: 1 })
  assert.equal(nearest('x', []), undefined)
})

test('an older Node is refused with what to do', () => {
  for (const version of ['v20.20.2', 'v22.18.0', 'v24.7.9', 'v24.0.0']) {
    assert.throws(
      () => checkNode(version),
      (error) => isSovraError(error, 'node_too_old') && error.message.includes(version) && error.hint.includes('npm ci'),
    )
  }
  for (const version of ['v24.8.0', 'v24.21.0', 'v25.0.0', process.version]) checkNode(version)
})

describe('caches', () => {
  test('one flight for all who ask meanwhile; its failure is not kept', async () => {
    let runs = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const get = singleFlight(async (key: string) => {
      runs++
      await promise
      if (runs === 1) throw fail('internal')
      return key
    })
    const both = [get('a'), get('a')]
    resolve()
    for (const one of await Promise.allSettled(both)) assert.equal(one.status, 'rejected')
    assert.equal(runs, 1)
    assert.equal(await get('a'), 'a')
  })

  test('loads once, answers at once, believes for its time', async () => {
    let now = 0
    let value: number | undefined = 1
    let loads = 0
    const load = async () => {
      loads++
      return value
    }
    const cache = loadingCache({ max: 2, ttl: 100, missTtl: 10, now: () => now, load })
    assert.deepEqual(await Promise.all([cache.get('a'), cache.get('a')]), [1, 1])
    assert.equal(loads, 1)
    assert.equal(cache.get('a'), 1)
    now = 100
    value = undefined
    assert.equal(cache.peek('a'), undefined)
    assert.equal(await cache.get('a'), undefined)
    assert.equal(cache.get('a'), undefined)
    assert.equal(loads, 2)
    now = 110
    await cache.get('a')
    assert.equal(loads, 3)
    for (const key of ['b', 'c', 'd']) await cache.get(key)
    assert.ok(cache.size <= 2)
  })

  test('what was dropped while it loaded is not kept', async () => {
    const first = Promise.withResolvers<string>()
    const answers = [first.promise, Promise.resolve('new')]
    const cache = loadingCache({ max: 2, load: () => answers.shift() as Promise<string> })
    const old = cache.get('a')
    cache.drop('a')
    assert.equal(await cache.get('a'), 'new')
    first.resolve('old')
    assert.equal(await old, 'old')
    assert.equal(cache.get('a'), 'new')
  })

  test('entries end at their own time', () => {
    let now = 0
    const map = expiringMap<string>(2, () => now)
    map.set('a', 'x', 10)
    assert.equal(map.get('a'), 'x')
    now = 10
    assert.equal(map.get('a'), undefined)
    assert.equal(map.size, 0)
  })

  test('large entries leave room for fewer', () => {
    const map = expiringMap<string>(10, Date.now, (text) => text.length)
    for (const key of ['a', 'b', 'c']) map.set(key, 'four', Number.POSITIVE_INFINITY)
    assert.deepEqual([map.get('a'), map.get('c'), map.size], [undefined, 'four', 2])
  })
})

describe('rates', () => {
  test('so many in a window, then the seconds to wait, then again', () => {
    let now = 0
    const rate = makeRate({ amount: 10, window: 3_600_000, now: () => now })
    for (let i = 9; i >= 0; i--) assert.deepEqual(rate.take('a'), { ok: true, retryAfter: 0, remaining: i })
    assert.deepEqual(rate.take('a'), { ok: false, retryAfter: 360, remaining: 0 })
    assert.ok(rate.take('b').ok)
    now = 360_000
    assert.ok(rate.check('a').ok)
    assert.ok(rate.take('a').ok)
    assert.ok(!rate.check('a').ok)
    rate.forget('a')
    assert.ok(rate.take('a').ok)
  })

  test('a clock that goes back takes nothing away', () => {
    let now = 1000
    const rate = makeRate({ amount: 2, window: 1000, now: () => now })
    rate.take('a')
    now = 0
    assert.ok(rate.take('a').ok)
    assert.ok(!rate.take('a').ok)
  })

  test('a flood of keys stays bounded and frees nobody', () => {
    let now = 0
    const rate = makeRate({ amount: 2, window: 1000, maxKeys: 50, now: () => now })
    rate.take('victim')
    rate.take('victim')
    let passed = 0
    for (let i = 0; i < 5000; i++) if (rate.take(`flood-${i}`).ok) passed++
    assert.ok(rate.size <= 50)
    assert.ok(!rate.take('victim').ok)
    assert.equal(passed, 49 + 2, 'beyond the bound all share one bucket')
    now = 10_000
    assert.ok(rate.take('later').ok)
    assert.ok(rate.size <= 50)
  })
})

test('where it cannot run it says what is missing', () => {
  const good = { platform: 'linux', arch: 'x64', glibc: true }
  checkPlatform()
  checkPlatform({ ...good, arch: 'arm64' })
  for (const [machine, why] of [
    [{ ...good, platform: 'darwin' }, /this is darwin/],
    [{ ...good, arch: 'riscv64' }, /riscv64/],
    [{ ...good, glibc: false }, /no glibc/],
  ] as const)
    assert.throws(() => checkPlatform(machine), why)
})

test('addresses for budgets', () => {
  assert.equal(budgetKey('203.0.113.7'), '203.0.113.7')
  assert.equal(budgetKey('::ffff:203.0.113.7'), '203.0.113.7')
  assert.equal(budgetKey('2001:db8:1:2:3:4:5:6'), budgetKey('2001:db8:1:2::9'))
  assert.notEqual(budgetKey('2001:db8:1:2::9'), budgetKey('2001:db8:1:3::9'))
})

describe('log', () => {
  const CANARY = 'canary-91'
  function lines(write: (log: ReturnType<typeof makeLog>) => void, pretty = false): string {
    let text = ''
    const destination = {
      write(line: string) {
        text += line
      },
    }
    write(makeLog({ level: 'info', pretty, destination }))
    return text
  }

  test('JSON with level, time and fields', () => {
    const line = JSON.parse(lines((log) => log.info({ a: 1 }, 'hello'))) as Record<string, unknown>
    assert.deepEqual({ ...line, time: '' }, { level: 'info', time: '', a: 1, msg: 'hello' })
    assert.match(String(line.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  test('secrets by name, errors that quote values, and what drivers hang on errors are not written', () => {
    const text = lines((log) => {
      log.info({ password: CANARY, deep: { api_key: CANARY, deeper: { refreshToken: CANARY } } }, 'names')
      const pg = Object.assign(new Error(`invalid input "${CANARY}"`), { code: '22P02', severity: 'ERROR', detail: CANARY, where: CANARY })
      log.error(pg)
      log.error({ err: pg })
      log.error({ err: fail('internal', {}, { cause: pg }) }, 'caused')
      log.error({ err: Object.assign(new Error(`Duplicate entry '${CANARY}'`), { sqlState: '23000', sql: CANARY }) }, 'mysql')
      try {
        JSON.parse(`{"${CANARY}`)
      } catch (error) {
        log.error({ err: error }, 'syntax')
      }
      log.error({ err: Object.assign(new Error('plain'), { rawPacket: Buffer.from(CANARY), config: { auth: CANARY } }) }, 'extra')
    })
    assert.ok(!text.includes(CANARY), text)
    const parsed = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { msg: string; err?: { code?: string; message?: string; cause?: { code?: string } } })
    assert.equal(parsed.length, 7)
    assert.equal(parsed[1]?.err?.code, '22P02')
    assert.equal(parsed[3]?.err?.cause?.code, '22P02')
    assert.equal(parsed[6]?.err?.message, 'plain')
  })

  test('on standard output: in blocks while it runs, an error at once, nothing lost at the end', () => {
    const script = `import('${import.meta.dirname}/log.ts').then(({ makeLog, writeLine }) => {
      const log = makeLog({ level: 'info', pretty: 'auto' })
      for (let i = 0; i < 3000; i++) i % 3 ? writeLine(log, '"i":' + i, 'line') : log.info({ i }, 'line')
      log.error('last')
    })`
    const { stdout, status } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' })
    assert.equal(status, 0)
    const numbers = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { i?: number }).i)
    assert.deepEqual(numbers, [...Array(3000).keys(), undefined])
  })

  test('a child keeps its fields; below the level nothing is written; readable lines are no JSON', () => {
    assert.match(
      lines((log) => log.child({ request_id: 'r1' }).info('x')),
      /"request_id":"r1"/,
    )
    assert.equal(
      lines((log) => log.debug('x')),
      '',
    )
    const readable = lines((log) => log.info({ token: CANARY, a: 1 }, 'hello'), true)
    assert.match(readable, /INFO.*hello/)
    assert.ok(!readable.includes(CANARY))
  })
})

describe('metrics', () => {
  test('counts and renders; our process is in it', async () => {
    const metrics = makeMetrics()
    try {
      metrics.counter('sovrabase_http_requests_total', 'Requests', ['project', 'status']).inc({ project: 'a', status: '2xx' })
      metrics.histogram('sovrabase_http_request_seconds', 'Time', ['route']).observe({ route: '/x' }, 0.2)
      metrics.gauge('sovrabase_clusters_awake_count', 'Awake', [], (gauge) => gauge.set(7))
      const { type, text } = await metrics.render()
      assert.match(type, /^text\/plain/)
      assert.match(text, /sovrabase_http_requests_total\{project="a",status="2xx"\} 1/)
      assert.match(text, /sovrabase_clusters_awake_count 7/)
      assert.match(text, /sovrabase_process_memory_bytes\{kind="rss"\} \d+/)
      for (const name of text.matchAll(/^# TYPE (\S+)/gm)) assert.match(name[1] ?? '', /^sovrabase_/)
    } finally {
      metrics.close()
    }
  })

  test('names and labels are held to the rules', () => {
    const metrics = makeMetrics()
    try {
      assert.throws(() => metrics.counter('requests_total', ''))
      assert.throws(() => metrics.counter('sovrabase_http_requests', ''))
      assert.throws(() => metrics.gauge('sovrabase_Http_x', ''))
      assert.throws(() => metrics.histogram('sovrabase_http_seconds', '', ['project']))
    } finally {
      metrics.close()
    }
  })
})
