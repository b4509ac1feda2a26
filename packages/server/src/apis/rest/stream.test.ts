import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { until } from '../../../../../test/until.ts'
import { startRest, type TestRest } from './rest.testing.ts'

const WHOLE = { max_rows: 1_000 }
const ANY = { max_rows: 1_000_000 }
const ROWS = 3_000

let rest: TestRest
let port = 0
before(async () => {
  rest = await startRest()
  await rest.admin.query(`create table large (id int primary key, body text, part jsonb);
    insert into large select i, repeat('ü', i), jsonb_build_object('n', i) from generate_series(1, ${ROWS}) i;
    create table pieces (id int primary key, large_id int references large);
    insert into pieces select i, i from generate_series(1, 10) i;
    create function slowly(large) returns int language sql as $$ select 1 from pg_sleep(0.2) $$;
    create function broken(large) returns int language sql immutable as $$ select 1 / (2900 - $1.id) $$;
    create function told(large) returns text language sql stable as $$ select current_setting('lock_timeout') || ' ' || current_setting('app.kind', true) $$;
    create view wide as select repeat('x', 65536) as body from generate_series(1, 1300);
    grant select on large, pieces, wide to anon`)
  await rest.app.listen({ host: '127.0.0.1', port: 0 })
  port = (rest.app.server.address() as AddressInfo).port
})
after(() => rest?.stop())

const ask = async (url: string, settings: object, headers: Record<string, string> = {}) => {
  rest.settings = settings
  return rest.app.inject({ method: 'GET', url, headers })
}

describe('answers of more than a thousand rows', () => {
  it('are the same bytes as in one piece', async () => {
    for (const url of [
      '/large?order=id&id=lte.700',
      '/large?order=id&id=lte.5&select=id,pieces(id)',
      '/large?select=id&id=lt.0',
      '/large?order=id.desc&offset=2990&select=part,x:body',
    ]) {
      const [streamed, whole] = [await ask(url, ANY), await ask(url, WHOLE)]
      assert.equal(streamed.statusCode, 200, streamed.body)
      assert.equal(streamed.body, whole.body)
      assert.equal(streamed.headers['content-range'], whole.headers['content-range'])
      assert.equal(streamed.headers['content-type'], whole.headers['content-type'])
    }
  })

  it('are whole, with their number in the head', async () => {
    const all = await ask('/large?order=id', ANY)
    assert.equal(all.headers['content-range'], `0-${ROWS - 1}/*`)
    assert.deepEqual(
      all.json<{ id: number; body: string }[]>().map(({ id, body }) => id === body.length),
      Array.from({ length: ROWS }, () => true),
    )
    const some = await ask('/large?order=id&offset=100&limit=2500&select=id,body,pieces(id)', ANY)
    assert.equal(some.headers['content-range'], '100-2599/*')
    assert.equal(some.json<unknown[]>().length, 2500)
    const inner = await ask('/large?select=id,pieces!inner(id)', ANY)
    assert.equal(inner.headers['content-range'], '0-9/*')
  })

  it('have the settings of their role', async () => {
    await rest.admin.query(`alter role anon set lock_timeout = '7s'; alter role anon set app.kind = 'member'`)
    await rest.holder.fresh(rest.holder.current)
    const rows = (await ask('/large?select=id,told', ANY)).json<{ told: string }[]>()
    assert.deepEqual([rows.length, new Set(rows.map(({ told }) => told))], [ROWS, new Set(['7s member'])])
    const all = await ask('/large?order=id', ANY)
    assert.equal(all.headers['content-range'], `0-${ROWS - 1}/*`)
    // PostgreSQL's whole answer would not fit into what one piece may be; row by row it does.
    const wide = await ask('/wide', ANY)
    assert.deepEqual([wide.statusCode, wide.body.length > 80_000_000], [200, true])
    await rest.admin.query('alter role anon reset all')
    await rest.holder.fresh(rest.holder.current)
  })

  it('errors before the first row are answered as ever; a later one ends the connection', async () => {
    assert.equal((await ask('/large?select=nothing', ANY)).json<{ code: string }>().code, '42703')
    assert.equal((await ask('/large?id=eq.x', ANY)).statusCode, 400)
    rest.settings = ANY
    const [answer] = (await once(get({ port, path: '/large?select=id,body,broken&order=id' }), 'response')) as [IncomingMessage]
    answer.resume()
    await assert.rejects(once(answer, 'end'), { code: 'ECONNRESET' })
  })

  it('a reader that goes away ends its statement', async () => {
    rest.settings = ANY
    const request = get({ port, path: '/large?select=id,slowly' }).on('error', () => {})
    const running = async (): Promise<boolean> =>
      (await rest.admin.query(`select from pg_stat_activity where state = 'active' and query like '%slowly%' and pid <> pg_backend_pid()`))
        .rows.length > 0
    await until(running)
    request.destroy()
    await until(async () => !(await running()))
  })
})
