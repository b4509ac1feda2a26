import type { Case } from './rest.testing.ts'

const accept = (type: string) => ({ accept: type })

/** Media types that a project makes by itself: domains called like them, and aggregates. */
export const MEDIA: readonly Case[] = [
  { request: 'GET /rpc/page', headers: accept('text/html'), status: 200, text: '<p>hello</p>', answers: { 'content-type': 'text/html' } },
  { request: 'GET /rpc/page', status: 200, text: '"<p>hello</p>"' },
  {
    request: 'GET /rpc/plain',
    headers: accept('text/plain'),
    status: 200,
    text: 'hello',
    answers: { 'content-type': 'text/plain; charset=utf-8' },
  },
  { request: 'GET /rpc/page', headers: accept('text/plain'), status: 406, error: { code: 'PGRST107' } },
  {
    request: 'POST /rpc/echo_text',
    headers: { accept: 'text/plain', 'content-type': 'text/plain' },
    body: 'as it is',
    status: 200,
    text: 'as it is',
  },
  { request: 'GET /rpc/many?n=2', headers: accept('text/plain'), status: 406, error: { code: 'PGRST107' } },
  {
    request: 'GET /rpc/picture',
    headers: accept('text/html,application/xml;q=0.9,image/png,*/*;q=0.8'),
    status: 200,
    text: Buffer.from('89504e47', 'hex').toString('utf8'),
    answers: { 'content-type': 'image/png', 'content-length': '4' },
  },
  { request: 'GET /rpc/anything', status: 200, text: 'any', answers: { 'content-type': 'application/octet-stream' } },
  { request: 'GET /rpc/anything', headers: accept('app/bingo'), status: 200, text: 'any' },
  {
    request: 'GET /rpc/some_bytes',
    headers: accept('application/octet-stream'),
    status: 200,
    text: Buffer.from('0001ff', 'hex').toString('utf8'),
    answers: { 'content-length': '3' },
  },
  {
    request: 'GET /clients?order=id',
    headers: accept('text/x-names'),
    status: 200,
    text: 'Microsoft;Apple;',
    answers: { 'content-type': 'text/x-names', 'content-range': '0-1/*' },
  },
  { request: 'GET /clients?id=eq.9', headers: accept('text/x-names'), status: 200, text: '' },
  { request: 'GET /clients?select=id,name', headers: accept('text/x-names'), status: 406, error: { code: 'PGRST107' } },
  { request: 'GET /projects', headers: accept('text/x-names'), status: 406, error: { code: 'PGRST107' } },
  { request: 'GET /projects?select=id', headers: accept('application/vnd.rows+json'), status: 200, json: { rows: 5 } },
  { request: 'GET /rpc/get_projects?client=1', headers: accept('application/vnd.rows+json'), status: 200, json: { rows: 2 } },
  {
    request: 'POST /clients',
    headers: { accept: 'text/x-names', prefer: 'return=representation, tx=rollback' },
    body: [{ id: 9, name: 'New' }],
    status: 201,
    text: 'New;',
  },
  {
    request: 'GET /clients?id=eq.1',
    headers: accept('application/geo+json'),
    status: 200,
    json: { type: 'FeatureCollection', features: [{ type: 'Feature' }] },
    answers: { 'content-type': 'application/geo+json; charset=utf-8' },
  },
  {
    request: 'GET /clients',
    headers: accept('application/vnd.pgrst.plan+json'),
    status: 406,
    error: { code: 'PGRST107' },
  },
  {
    request: 'GET /files?order=id',
    headers: accept('app/bingo'),
    status: 200,
    text: 'ab',
    answers: { 'content-type': 'application/octet-stream', 'content-disposition': 'attachment' },
  },
  { request: 'HEAD /clients', headers: accept('text/csv'), status: 200, text: '' },
]
