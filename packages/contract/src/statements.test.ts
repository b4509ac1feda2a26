import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isComplete, splitStatements } from './statements.ts'

const rows: [sql: string, statements: string[]][] = [
  ['', []],
  [' ;; ; -- nothing\n/* /* nested */ */', []],
  ['select 1', ['select 1']],
  ['select 1; select 2;', ['select 1', 'select 2']],
  ["select 'a;''b'; select 2", ["select 'a;''b'", 'select 2']],
  ["select E'a\\';b'; select 2", ["select E'a\\';b'", 'select 2']],
  ["select 'a\\'; select 2", ["select 'a\\'", 'select 2']],
  ['select "a;""b"; select 2', ['select "a;""b"', 'select 2']],
  ['select $$ ; $x$ $$; select $a$ ; $$ ; $a$', ['select $$ ; $x$ $$', 'select $a$ ; $$ ; $a$']],
  ['select $1; select a$b$c; select 2', ['select $1', 'select a$b$c', 'select 2']],
  ['-- first; \nselect 1 -- ; here\n; /* ; */ select 2', ['select 1 -- ; here', 'select 2']],
  [
    'create rule r as on insert to t do also (select 1; select 2); select 3',
    ['create rule r as on insert to t do also (select 1; select 2)', 'select 3'],
  ],
  [
    'create function f() returns int language sql begin atomic select 1; select case when true then 2 end; end; select 3',
    ['create function f() returns int language sql begin atomic select 1; select case when true then 2 end; end', 'select 3'],
  ],
  [
    'create or replace procedure p() begin atomic select 1; end; select 2',
    ['create or replace procedure p() begin atomic select 1; end', 'select 2'],
  ],
  ['begin; select 1; end; select 2', ['begin', 'select 1', 'end', 'select 2']],
  ["do $$ begin perform 1; end $$; comment on table t is 'it''s;'", ['do $$ begin perform 1; end $$', "comment on table t is 'it''s;'"]],
  ['\\restrict abc\nselect 1;\n\\unrestrict abc\n', ['select 1']],
  ["select 'unfinished; select 2", ["select 'unfinished; select 2"]],
  ['select (1; select 2', ['select (1; select 2']],
  ['select é$; select "ü;"', ['select é$', 'select "ü;"']],
]

test('statements are told apart as the server does', () => {
  for (const [sql, statements] of rows)
    assert.deepEqual(
      splitStatements(sql).map(({ text }) => text),
      statements,
      sql,
    )
})

test('places in the text; lines of COPY', () => {
  const sql = 'select 1;\n-- x\nCOPY t (a) FROM stdin;\n1\n;\\N\n\\.\n\nselect 2;'
  const found = splitStatements(sql)
  assert.deepEqual(
    found.map(({ text, data }) => [text, data]),
    [
      ['select 1', undefined],
      ['COPY t (a) FROM stdin', '1\n;\\N\n'],
      ['select 2', undefined],
    ],
  )
  for (const { text, start, end } of found) assert.equal(sql.slice(start, end), text)
  assert.deepEqual(splitStatements('copy t from stdin;\n1\n').at(0)?.data, '1\n')
})

test('a text of megabytes', () => {
  const long = `insert into t values ('${'x'.repeat(3_000_000)}', E'${"\\'".repeat(500_000)}');`
  assert.equal(splitStatements(long + long).length, 2)
  assert.equal(splitStatements('insert into t values (1);\n'.repeat(50_000)).length, 50_000)
})

test('where a statement of the small shell ends', () => {
  const ends = [
    'select 1;',
    'select 1; ',
    "select 'a;b';",
    "select 'it''s';",
    'select $$ ; $$;',
    'select $x$ $$ ; $x$;',
    'select 1; -- done',
    '/* ; */ select 1;',
    'select "a;b" from t;',
  ]
  const goesOn = ['', 'select 1', "select 'a;", 'select $$ ;', 'select $x$ $$;', 'select 1 -- ;', 'select /* ;', 'select "a;']
  for (const sql of ends) assert.equal(isComplete(sql), true, sql)
  for (const sql of goesOn) assert.equal(isComplete(sql), false, sql)
})
