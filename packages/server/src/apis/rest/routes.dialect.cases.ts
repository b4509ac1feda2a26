import type { Case } from './rest.testing.ts'

const form = { 'content-type': 'application/x-www-form-urlencoded' }

/** What PostgREST's users meet less often, row by row. */
export const DIALECT: readonly Case[] = [
  { request: 'GET /clients?name=like.M*&id=gt.0', status: 200, answers: { 'content-location': '/clients?id=gt.0&name=like.M%2A' } },
  { request: 'GET /clients', status: 200, answers: { 'content-location': '/clients' } },
  { request: 'GET /rpc/tabled', status: 200, answers: { 'content-location': undefined } },
  { request: 'GET /rpc/get_projects?client=2&select=&id=eq.4', status: 200, json: [{ id: 4, name: 'OSX', client_id: 2 }] },
  // a form's fields are texts: the last counts, a variadic argument takes all
  { request: 'POST /rpc/total', headers: form, body: 'v=1&v=2', status: 200, text: '3' },
  { request: 'POST /rpc/total', headers: form, body: 'v=1', status: 200, text: '1' },
  { request: 'POST /rpc/list_sum', headers: form, body: 'l={4,5}', status: 200, text: '9' },
  { request: 'POST /rpc/add_them', headers: form, body: 'a=1&a=2', status: 200, text: '12' },
  { request: 'POST /rpc/add_them?columns=a', body: { a: 1, b: 2, c: 3 }, status: 200, text: '11' },
  { request: 'POST /rpc/add_them?columns=a', body: [{ a: 1, b: 2 }, { z: 1 }], status: 200, text: '11' },
  // char and bit without a length mean any length
  { request: 'GET /rpc/lengths?c=abc&cs={abc,de}&bs={101,1}', status: 200, json: [{ c: 'abc', cs: ['abc', 'de'], bs: ['101', '1'] }] },
  { request: 'GET /rpc/many?n=2', headers: { accept: 'text/csv' }, status: 200, text: 'pgrst_scalar\n1\n2' },
  { request: 'POST /rpc/raise_it', body: { code: 'PT40A', msg: 'Wrong' }, status: 500, error: { code: 'PT40A', message: 'Wrong' } },
  {
    request: 'GET /projects?select=id,clients!wrong(name)',
    status: 400,
    error: {
      code: 'PGRST200',
      hint: null,
      details:
        "Searched for a foreign key relationship between 'projects' and 'clients' using the hint 'wrong' in the schema 'public', but no matches were found.",
    },
  },
  // an embedded resource called like a column
  {
    request: 'GET /projects?select=id,client_id(name)&client_id=eq.2&limit=1',
    status: 200,
    json: [{ id: 3, client_id: { name: 'Apple' } }],
  },
  { request: 'GET /projects?select=id,client_id(name)&client_id=is.null', status: 200, json: [{ id: 5, client_id: null }] },
  { request: "GET /clients?select=id,projects(count)'&id=eq.1", status: 200, json: [{ id: 1, projects: [{ count: 2 }] }] },
  // writing
  {
    request: 'POST /clients',
    headers: { prefer: 'return=representation, resolution=merge-duplicates' },
    body: [],
    status: 200,
    json: [],
    answers: { 'preference-applied': 'resolution=merge-duplicates, return=representation' },
  },
  {
    request: 'POST /defaulted?columns=id,other,name',
    headers: { prefer: 'return=representation, missing=default, tx=rollback' },
    body: { name: 'x' },
    status: 201,
    json: [{ id: 666, other: 420, name: 'x' }],
  },
  { request: 'GET /clients?offset=-4&limit=1', status: 200, json: [{ id: 1, name: 'Microsoft' }] },
  {
    request: 'GET /agents?select=id,departments(id)',
    status: 300,
    error: {
      code: 'PGRST201',
      details: [
        {
          cardinality: 'one-to-many',
          embedding: 'agents with departments',
          relationship: 'departments_head_fkey using agents(id) and departments(head)',
        },
        {
          cardinality: 'many-to-one',
          embedding: 'agents with departments',
          relationship: 'agents_department_fkey using agents(department) and departments(id)',
        },
      ],
    },
  },
  // errors
  { request: 'GET /contradiction', status: 500, error: { code: '21000' } },
  { request: 'TRACE /clients', status: 405, error: { code: 'PGRST117', message: 'Unsupported HTTP method: TRACE' } },
  { request: 'TRACE /rpc/many', status: 405, error: { code: 'PGRST101', message: 'Cannot use the TRACE method on RPC' } },
  { request: 'OPTIONS /rpc/no_such_function_here', status: 404, error: { code: 'PGRST202', hint: null } },
  {
    request: 'GET /taskz?select=*,projects(*)',
    status: 400,
    error: { code: 'PGRST200', hint: "Perhaps you meant 'tasks' instead of 'taskz'." },
  },
  // what may be done
  { request: 'OPTIONS /private', status: 200, answers: { allow: 'OPTIONS' } },
  {
    request: 'OPTIONS /private',
    headers: { 'x-role': 'authenticated' },
    status: 200,
    answers: { allow: 'OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE' },
  },
  { request: 'OPTIONS /taskz', status: 200, answers: { allow: 'OPTIONS,GET,HEAD,POST' } },
  { request: 'OPTIONS /taskz', headers: { 'x-role': 'of_its_own' }, status: 200, answers: { allow: 'OPTIONS,GET,HEAD,POST,PATCH,DELETE' } },
  { request: 'OPTIONS /rpc/hushed', status: 200, answers: { allow: 'OPTIONS' } },
  { request: 'DELETE /', status: 405, error: { code: 'PGRST117', message: 'Unsupported HTTP method: DELETE' } },
  // windows of a function that returns many values
  { request: 'GET /rpc/many?n=9&limit=2&offset=3', status: 200, json: [4, 5], answers: { 'content-range': '3-4/*' } },
  {
    request: 'POST /rpc/many?limit=2',
    headers: { prefer: 'count=exact' },
    body: { n: 5 },
    status: 206,
    json: [1, 2],
    answers: { 'content-range': '0-1/5' },
  },
  { request: 'GET /rpc/many?n=9', headers: { range: '7-' }, status: 200, json: [8, 9], answers: { 'content-range': '7-8/*' } },
  { request: 'GET /rpc/many?n=2&offset=5', headers: { prefer: 'count=exact' }, status: 416, error: { code: 'PGRST103' } },
  {
    request: 'POST /clients',
    headers: { 'content-type': 'text/csv' },
    body: '',
    status: 400,
    error: { code: 'PGRST102', message: 'Empty or invalid csv' },
  },
  {
    request: 'GET /notes?select=id,clients(*)',
    status: 400,
    // Two letters are like those of "notes_labels", but none of them are next to each other.
    error: { code: 'PGRST200', hint: null },
  },
  {
    request: 'GET /clients',
    headers: { accept: 'application/vnd.pgrst.plan; options=wal|analyze, text/odd;q=0.5' },
    status: 406,
    error: {
      code: 'PGRST107',
      message:
        'None of these media types are available: application/vnd.pgrst.plan+text; for="application/json"; options=analyze|wal, text/odd',
    },
  },
  // and orders and filters
  { request: 'GET /rpc/many?n=3&order=pgrst_scalar.desc&pgrst_scalar=gt.1', status: 200, json: [3, 2] },
  { request: 'GET /rpc/add_them?a=1&limit=0', status: 200, json: 11 },
  {
    request: 'POST /clients',
    headers: { 'content-type': 'csv' },
    body: 'x',
    status: 400,
    error: { code: 'PGRST102', message: 'Content-Type not acceptable: csv' },
  },
  {
    request: 'GET /clients',
    headers: { authorization: 'Bearer' },
    status: 401,
    error: { code: 'PGRST301', message: 'Empty JWT is sent in Authorization header' },
    answers: { 'www-authenticate': 'Bearer error="invalid_token", error_description="Empty JWT is sent in Authorization header"' },
  },
  // names that hide others
  {
    request: 'POST /letters?select=e,same_letters(letters)',
    headers: { prefer: 'return=representation, tx=rollback' },
    body: { e: 2, letters: 'x' },
    status: 201,
    json: [{ e: 2, same_letters: [{ letters: 'x' }] }],
  },
  {
    request: 'POST /letters',
    headers: { prefer: 'return=headers-only, tx=rollback' },
    body: { e: 2 },
    status: 201,
    answers: { location: '/letters?e=eq.2' },
  },
  { request: 'GET /letters', headers: { accept: 'text/csv' }, status: 200, text: 'e,h,s,row,letters\n1,h,s,r,l' },
]
