import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isComplete } from './shell.ts'

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
