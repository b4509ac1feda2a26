import type { Case } from './rest.testing.ts'

const full = { prefer: 'return=representation, tx=rollback' }

/** Domains with implicit casts to and from json and text. */
export const DOMAINS: readonly Case[] = [
  {
    request: 'GET /paints?order=id',
    status: 200,
    json: [
      { id: 1, shade: '#0000FF', kind: 'a' },
      { id: 2, shade: '#00FF00', kind: 'a' },
      { id: 3, shade: null, kind: 'b' },
    ],
  },
  { request: 'GET /paints?select=colour:shade&id=eq.1', status: 200, json: [{ colour: '#0000FF' }] },
  { request: 'GET /paints?select=shade&shade=eq.%2300FF00', status: 200, json: [{ shade: '#00FF00' }] },
  { request: 'GET /paints?select=id&shade=in.(%2300FF00,%230000FF)&order=id', status: 200, json: [{ id: 1 }, { id: 2 }] },
  { request: 'GET /paints?select=id&or=(shade.gt.%230000FF,id.eq.3)&order=id', status: 200, json: [{ id: 2 }, { id: 3 }] },
  {
    request: 'GET /paints?shade=ilike.%2300*',
    status: 404,
    error: { code: '42883', message: 'operator does not exist: colour ~~* unknown' },
  },
  { request: 'GET /paints?select=shade::int&id=eq.1', status: 200, json: [{ shade: 255 }] },
  { request: 'GET /paints?select=shade::text&id=eq.1', status: 200, json: [{ shade: '"#0000FF"' }] },
  {
    request: 'POST /paints',
    headers: full,
    body: [
      { id: 8, shade: '#000010' },
      { id: 9, shade: null },
    ],
    status: 201,
    json: [
      { id: 8, shade: '#000010', kind: null },
      { id: 9, shade: null, kind: null },
    ],
  },
  {
    request: 'PATCH /paints?shade=eq.%230000FF&select=id,shade',
    headers: full,
    body: { shade: '#000001' },
    status: 200,
    json: [{ id: 1, shade: '#000001' }],
  },
  {
    request: 'PUT /paints?id=eq.1&select=shade',
    headers: full,
    body: { id: 1, shade: '#000002' },
    status: 200,
    json: [{ shade: '#000002' }],
  },
  // a domain of a domain is what the last one holds
  { request: 'GET /searched?words=fts.rat&select=id', status: 200, json: [{ id: 2 }] },
  { request: 'GET /searched?words=not.plfts(english).rat&own->a->>b=eq.1&select=id,own->a', status: 200, json: [{ id: 1, a: { b: 1 } }] },
]
