import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isSovraError } from '../../../base/errors.ts'
import type { Catalogue, Column, ForeignKey, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { NO_PREFERENCES, parsePrefer } from '../parse/headers.ts'
import { negotiate } from '../parse/media.ts'
import { shapeQuery } from '../parse/query.ts'
import { planRead } from './read.ts'
import { bind } from './sql.ts'
import type { PlanInput } from './types.ts'
import { planWrite } from './write.ts'

const column = (name: string, type: string, initial: string | null = null): Column => ({
  name,
  type,
  notNull: false,
  default: initial,
  generated: false,
  identity: '',
  base: null,
  casts: null,
  enum: null,
  comment: null,
})
const key: ForeignKey = {
  name: 'todos_owner_fkey',
  schema: 'public',
  table: 'todos',
  columns: ['owner'],
  foreignSchema: 'public',
  foreignTable: 'users',
  foreignColumns: ['id'],
  unique: false,
  traced: false,
}
const table = (name: string, columns: readonly Column[], references: ForeignKey[], referencedBy: ForeignKey[]): Table => ({
  schema: 'public',
  name,
  kind: 'r',
  columns: new Map(columns.map((one) => [one.name, one])),
  primaryKey: ['id'],
  uniques: [],
  references,
  referencedBy,
  rowSecurity: true,
  rowSecurityForced: false,
  policies: [],
  grants: {},
  insertable: true,
  updatable: true,
  deletable: true,
  comment: null,
})
const todos = table(
  'todos',
  [column('id', 'integer'), column('title', 'text', `'none'`), column('owner', 'uuid'), column('data', 'jsonb')],
  [key],
  [],
)
const users = table('users', [column('id', 'uuid'), column('name', 'text')], [], [key])
const catalogue: Catalogue = {
  digest: '',
  version: 180000,
  enums: new Map(),
  domains: new Map(),
  settings: {},
  handlers: new Map(),
  geoJson: null,
  roleSettings: {},
  cut: false,
  schemas: new Map([
    [
      'public',
      {
        name: 'public',
        usage: [],
        comment: null,
        tables: new Map([
          ['todos', todos],
          ['users', users],
        ]),
        functions: new Map(),
      },
    ],
  ]),
}
const input = (query: string, more: Partial<PlanInput> = {}): PlanInput => ({
  catalogue,
  schema: 'public',
  query: shapeQuery(query, { arguments: false }).parse(),
  media: negotiate(undefined),
  prefer: NO_PREFERENCES,
  head: false,
  maxRows: null,
  aggregates: true,
  ...more,
})
const rows = (sql: string) => `select coalesce(json_agg("_sovra_t"), '[]')::text, count(*) from (${sql}) as "_sovra_t"`

/** Query string → SQL of its rows. */
const READS: readonly (readonly [string, string])[] = [
  ['', 'select "todos".* from "public"."todos"'],
  ['select=id,t:title::text', 'select "todos"."id", cast("todos"."title" as text) as "t" from "public"."todos"'],
  ['id=eq.1&title=not.like.a*', 'select "todos".* from "public"."todos" where "todos"."id" = $1 and not ("todos"."title" like $2)'],
  ['select="x\\""&"\';--"=eq.1', 'select "todos"."x""" from "public"."todos" where "todos"."\';--" = $1'],
  ['id=in.(1,2)', 'select "todos".* from "public"."todos" where "todos"."id" = any($1)'],
  [
    'or=(id.is.null,and(id.gt.1,id.lt.9))',
    'select "todos".* from "public"."todos" where ("todos"."id" is null or ("todos"."id" > $1 and "todos"."id" < $2))',
  ],
  ['select=data->a->>0&data->>b=eq.x', 'select "todos"."data"->$1->>(0) as "a" from "public"."todos" where "todos"."data"->>$2 = $3'],
  ['select=title->x', 'select to_jsonb("todos"."title")->$1 as "x" from "public"."todos"'],
  [
    'title=fts(english).cat',
    'select "todos".* from "public"."todos" where to_tsvector($1::regconfig, "todos"."title") @@ to_tsquery($1::regconfig, $2)',
  ],
  [
    'order=id.desc.nullslast&limit=5&offset=2',
    'select "todos".* from "public"."todos" order by "todos"."id" desc nulls last limit 5 offset $1',
  ],
  [
    'select=id,users(name)',
    'select "todos"."id", row_to_json("todos_users_1".*) as "users" from "public"."todos" left join lateral (select "users_1"."name" from "public"."users" as "users_1" where "users_1"."id" = "todos"."owner") as "todos_users_1" on true',
  ],
  ['select=owner,count()', 'select "todos"."owner", count(*) as "count" from "public"."todos" group by 1'],
]

describe('plans', () => {
  for (const [query, sql] of READS) {
    it(`GET /todos?${query}`, () => {
      assert.equal(planRead(input(query), todos).sql, rows(sql))
    })
  }

  it('lists to-many resources, and counts through inner ones', () => {
    const { sql } = planRead(
      input('select=name,todos!inner(id)&todos.id=gt.1&limit=1', { prefer: parsePrefer('count=exact', false) }),
      users,
    )
    assert.match(sql, /coalesce\("users_todos_1"."users_todos_1", '\[\]'\) as "todos"/)
    assert.match(
      sql,
      /inner join lateral \(select json_agg\("users_todos_1"\) as "users_todos_1" from \(select "todos_1"."id" from "public"."todos" as "todos_1" where "todos_1"."owner" = "users"."id" and "todos_1"."id" > \$1\) as "users_todos_1"\) as "users_todos_1" on "users_todos_1"."users_todos_1" is not null/,
    )
    assert.match(
      sql,
      /\(select count\(\*\) from \(select 1 from "public"."users" where exists \(select 1 from "public"."todos" as "todos_1" where/,
    )
  })

  it('writes the body by names and types of the catalogue', () => {
    const body = { isArray: true, keys: ['id', 'title'], type: 'application/json' }
    const { sql, params } = planWrite('insert', input(''), todos, body)
    assert.equal(
      sql.slice(0, sql.indexOf(" select ''")),
      'with "_sovra_source" as (insert into "public"."todos"("id", "title") select "_sovra_body"."id", "_sovra_body"."title" from json_to_recordset($1::json) as "_sovra_body"("id" integer, "title" text) returning 1)',
    )
    assert.deepEqual(params, [{ from: 'body' }])
  })

  it('never lets a level answer more than the most rows', () => {
    const planOf = (limit: number) => planRead(input(`limit=${limit}&select=id,users(name)`, { maxRows: 100 }), todos)
    assert.match(planOf(50).sql, /limit 100\) as "todos_users_1".* limit 50\)/)
    assert.match(planOf(500).sql, / limit 100\) as "_sovra_t"/)
    assert.match(planOf(5_000).sql, / limit \$1\) as "_sovra_t"/)
    assert.deepEqual(bind(planOf(5_000).params, ['5000'], ''), ['100'])
    assert.deepEqual(bind(planOf(5_000).params, ['50'], ''), ['50'])
  })

  it('stays small whatever is asked', () => {
    const nested = (levels: number): string => (levels === 0 ? 'id' : `id,...todos!inner(id,users!inner(${nested(levels - 1)}))`)
    const path = (levels: number) => Array.from({ length: levels }, (_, i) => (i % 2 === 0 ? 'todos' : 'users')).join('.')
    const plain = (levels: number, i = 0): string =>
      levels === 0 ? 'id' : `id,${i % 2 === 0 ? 'todos' : 'users'}(${plain(levels - 1, i + 1)})`
    const tests = [1, 2, 3, 4, 5].flatMap((levels) => Array(30).fill(`${path(levels)}=is.null`))
    const queries = [
      `select=${nested(15)}`,
      `select=${plain(5)}&${tests.join('&')}`,
      `select=${Array.from({ length: 501 }, (_, i) => `a${i}:todos(id)`).join(',')}`,
      `select=${Array.from({ length: 5001 }, () => '*').join(',')},count()`,
    ]
    for (const query of queries) {
      const asked = { ...input(query), aggregates: true, maxRows: 100, prefer: parsePrefer('count=exact', false) }
      assert.throws(
        () => planRead(asked, users),
        (error) => isSovraError(error, 'statement_unsupported'),
        query.slice(0, 60),
      )
    }
    assert.ok(planRead(input(`select=${nested(3)}`), users).sql.length < 20_000)
  })

  it('holds no value of a request', () => {
    const canary = `zq'"\\;--`
    const query = `id=eq.${encodeURIComponent(canary)}&or=(title.eq."${encodeURIComponent(canary.replaceAll('\\', '\\\\').replaceAll('"', '\\"'))}")&title=in.(${encodeURIComponent('zq')})`
    const shaped = shapeQuery(query, { arguments: false })
    assert.ok(!shaped.shape.includes('zq'))
    assert.ok(!planRead(input(query), todos).sql.includes('zq'))
    assert.equal(shaped.values[1], canary)
  })
})
