import type { Case } from './rest.testing.ts'

/** Relations of views are those of the tables whose columns they show. */
export const VIEWS: readonly Case[] = [
  {
    request: 'GET /project_list?select=title,clients(name)&pid=eq.1',
    status: 200,
    json: [{ title: 'Windows 7', clients: { name: 'Microsoft' } }],
  },
  { request: 'GET /clients?select=id,project_list(pid)&id=eq.2', status: 200, json: [{ id: 2, project_list: [{ pid: 3 }, { pid: 4 }] }] },
  {
    request: 'GET /project_list?select=pid,client_list(name)&pid=eq.3',
    status: 200,
    json: [{ pid: 3, client_list: { name: 'APPLE' } }],
  },
  {
    request: 'GET /client_list?select=name,projects(id),project_list(pid)&id=eq.2',
    status: 200,
    json: [{ name: 'APPLE', projects: [{ id: 3 }, { id: 4 }], project_list: [{ pid: 3 }, { pid: 4 }] }],
  },
  {
    request: 'GET /project_view_of_view?select=pid,clients!owner(name)&pid=eq.1',
    status: 200,
    json: [{ pid: 1, clients: { name: 'Microsoft' } }],
  },
  {
    request: 'GET /project_view_of_view?select=pid,clients(name)',
    status: 300,
    error: {
      code: 'PGRST201',
      details: [
        {
          cardinality: 'many-to-one',
          embedding: 'project_view_of_view with clients',
          relationship: 'projects_client_id_fkey using project_view_of_view(again) and clients(id)',
        },
        {
          cardinality: 'many-to-one',
          embedding: 'project_view_of_view with clients',
          relationship: 'projects_client_id_fkey using project_view_of_view(owner) and clients(id)',
        },
      ],
    },
  },
  { request: 'GET /project_list?select=pid,tasks(id)&pid=eq.3', status: 200, json: [{ pid: 3, tasks: [{ id: 5 }] }] },
  { request: 'GET /project_list?select=pid,details(note)&pid=eq.1', status: 200, json: [{ pid: 1, details: { note: 'old' } }] },
  { request: 'GET /project_list?select=pid,owner(name)&pid=eq.1', status: 200, json: [{ pid: 1, owner: { name: 'Microsoft' } }] },
  {
    request: 'GET /happy_users?select=name,tasks!users_tasks(id)',
    status: 200,
    json: [{ name: 'Angela', tasks: [{ id: 1 }, { id: 2 }] }],
  },
  {
    request: 'GET /notes?select=id,labels!labelled(id)&id=eq.2',
    status: 200,
    json: [{ id: 2, labels: [{ id: 1 }] }],
  },
  {
    request: 'GET /tasks?select=id,happy_users!users_tasks(name)&id=eq.1',
    status: 200,
    json: [{ id: 1, happy_users: [{ name: 'Angela' }] }],
  },
  {
    request: 'GET /we%20ird%7B(?select=%22i%7D%20d%22,tasks(id)&%22i%7D%20d%22=eq.3',
    status: 200,
    json: [{ 'i} d': 3, tasks: [{ id: 5 }] }],
  },
  {
    request: 'GET /clients?select=id,projects_client_id_fkey(id)&id=eq.2',
    status: 200,
    json: [{ id: 2, projects_client_id_fkey: [{ id: 3 }, { id: 4 }] }],
  },
  {
    request: 'POST /project_list',
    headers: { prefer: 'return=headers-only, tx=rollback' },
    body: { pid: 9, title: 'By view', owner: 1 },
    status: 201,
    answers: { location: '/project_list?pid=eq.9' },
  },
  {
    request: 'POST /project_list?select=pid,clients(name)',
    headers: { prefer: 'return=representation, resolution=merge-duplicates, tx=rollback' },
    body: { pid: 1, title: 'By view', owner: 2 },
    status: 200,
    json: [{ pid: 1, clients: { name: 'Apple' } }],
  },
  {
    request: 'PUT /project_list?pid=eq.1',
    headers: { prefer: 'return=representation, tx=rollback' },
    body: { pid: 1, title: 'Put', owner: 2 },
    status: 200,
    json: [{ pid: 1, title: 'Put', owner: 2 }],
  },
  { request: 'PATCH /project_list?pid=eq.1', headers: { prefer: 'tx=rollback' }, body: { title: 'X' }, status: 204 },
  { request: 'DELETE /labelled?note=eq.1', headers: { prefer: 'tx=rollback' }, status: 204 },
  { request: 'GET /project_copy?select=id,clients(name)&id=eq.1', status: 200, json: [{ id: 1, clients: { name: 'Microsoft' } }] },
  { request: 'GET /clients?select=project_copy(id)&id=eq.2', status: 200, json: [{ project_copy: [{ id: 3 }, { id: 4 }] }] },
  { request: 'OPTIONS /project_list', status: 200, answers: { allow: 'OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE' } },
  { request: 'OPTIONS /project_copy', status: 200, answers: { allow: 'OPTIONS,GET,HEAD' } },
]
