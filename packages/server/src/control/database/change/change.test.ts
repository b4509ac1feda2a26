import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { ChangeAnswer, Objects } from '@sovrabase/contract/database'
import { startServer, type TestServer } from '../../../../../../test/node.ts'
import { createProject, rest, type TestProject } from '../../../../../../test/project.ts'
import { type Cli, makeCli } from '../../../../../cli/src/cli.testing.ts'

let server: TestServer
let project: TestProject
let cli: Cli

before(async () => {
  server = await startServer()
  cli = makeCli(() => server.dataDir)
  project = await createProject(server, 'changed')
})
after(async () => {
  await server?.stop()
  cli?.remove()
})

type Thing = { readonly name: string; readonly [key: string]: unknown }
type Failure = { code: string; message: string; hint?: string; details?: { sqlstate?: string; statement?: number } }
const post = <T = ChangeAnswer>(changes: readonly object[], dry_run?: boolean) =>
  server.api<T>('POST', `/projects/${project.ref}/database/changes`, { changes, dry_run })
async function apply(...changes: object[]): Promise<readonly string[]> {
  const answer = await post(changes)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.sql
}
async function refused(...changes: object[]): Promise<Failure> {
  const answer = await post<Failure>(changes)
  assert.notEqual(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}
async function objects(query = ''): Promise<Record<keyof Objects, Thing[]>> {
  const answer = await server.api<Record<keyof Objects, Thing[]>>('GET', `/projects/${project.ref}/database/objects${query}`)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}
const table = async (name: string) => (await objects('?kinds=tables')).tables.find((found) => found.name === name)

test('a new table: row-level security on, nothing for anon, and the same SQL in a dry run', async () => {
  const change = {
    op: 'create_table',
    name: 'Odd "name"',
    columns: [
      { name: 'id', type: 'bigint', identity: 'always', primary_key: true },
      { name: 'text', type: 'text', nullable: false, default: "'x'", check: "text <> ''", comment: "it's text" },
    ],
    grants: { authenticated: ['select', 'insert'] },
  }
  const dry = await post([change], true)
  assert.equal(dry.body.applied, false)
  assert.equal(await table('Odd "name"'), undefined)
  assert.deepEqual(await apply(change), dry.body.sql)
  const found = await table('Odd "name"')
  assert.equal(found?.rls, true)
  assert.equal((found?.grants as Record<string, string[]> | undefined)?.anon, undefined)
  assert.deepEqual((found?.grants as Record<string, string[]> | undefined)?.authenticated, ['insert', 'select'])
  assert.equal((await rest(project, project.anon, 'GET', '/Odd%20%22name%22')).status, 401)
})

test('every operation, and what introspection says of it', async () => {
  await apply(
    { op: 'create_schema', name: 'api', comment: 'shown' },
    { op: 'create_enum', name: 'mood', labels: ['sad', "it's ok"] },
    {
      op: 'create_table',
      name: 'people',
      columns: [
        { name: 'id', type: 'int', primary_key: true },
        { name: 'mood', type: 'mood' },
      ],
    },
    {
      op: 'create_table',
      name: 'notes',
      columns: [
        { name: 'id', type: 'int' },
        { name: 'owner', type: 'int' },
        { name: 'text', type: 'text' },
      ],
      primary_key: ['id'],
    },
    { op: 'add_column', table: 'notes', column: { name: 'at', type: 'timestamptz', default: 'now()', nullable: false } },
    {
      op: 'add_constraint',
      table: 'notes',
      name: 'notes_owner',
      kind: 'foreign key',
      columns: ['owner'],
      references: { table: 'people', on_delete: 'cascade' },
    },
    { op: 'add_constraint', table: 'notes', name: 'short', kind: 'check', expression: 'length(text) < 100', not_valid: true },
    { op: 'validate_constraint', table: 'notes', name: 'short' },
    { op: 'create_index', table: 'notes', name: 'notes_owner_at', columns: ['owner', 'at'], where: 'text is not null' },
    { op: 'create_index', table: 'notes', expressions: ['lower(text)'], unique: true },
    { op: 'create_view', schema: 'api', name: 'mine', query: 'select id, text from public.notes' },
    { op: 'create_view', name: 'counted', query: 'select count(*) from public.notes', materialised: true },
    { op: 'refresh_view', name: 'counted' },
    {
      op: 'create_function',
      name: 'touch',
      returns: 'trigger',
      language: 'plpgsql',
      body: 'begin new.at := now(); return new; end',
      security: 'definer',
    },
    {
      op: 'create_trigger',
      table: 'notes',
      name: 'touches',
      timing: 'before',
      events: ['insert', 'update'],
      columns: ['text'],
      function: { name: 'touch' },
    },
    { op: 'enable_trigger', table: 'notes', name: 'touches', enabled: false },
    { op: 'create_policy', table: 'notes', name: 'own', command: 'select', roles: ['authenticated'], using: 'owner = 1' },
    { op: 'alter_policy', table: 'notes', name: 'own', using: 'owner = 2', rename: 'owned' },
    { op: 'create_role', name: 'editor', for_tokens: true },
    { op: 'grant', privileges: ['select', 'update'], columns: ['text'], on: { kind: 'table', name: 'notes' }, to: ['editor'] },
    { op: 'grant', privileges: ['usage'], on: { kind: 'schema', name: 'api' }, to: ['editor', 'anon'] },
    { op: 'revoke', privileges: ['execute'], on: { kind: 'function', name: 'touch' }, from: ['public'] },
    { op: 'grant_role', role: 'editor', to: ['authenticated'] },
    { op: 'create_extension', name: 'pg_trgm' },
    { op: 'create_publication', name: 'news', tables: [{ name: 'notes' }], publish: ['insert'] },
    { op: 'alter_publication', name: 'news', add: [{ name: 'people' }], remove: [{ name: 'notes' }] },
  )
  const found = await objects()
  const notes = found.tables.find(({ name }) => name === 'notes') as Record<string, { name: string; [key: string]: unknown }[]> | undefined
  assert.deepEqual(
    notes?.columns?.map(({ name, nullable }) => [name, nullable]),
    [
      ['id', false],
      ['owner', true],
      ['text', true],
      ['at', false],
    ],
  )
  assert.deepEqual(
    notes?.constraints?.map(({ name, kind }) => [name, kind]),
    [
      ['notes_owner', 'foreign key'],
      ['notes_pkey', 'primary key'],
      ['short', 'check'],
    ],
  )
  assert.deepEqual(
    notes?.indexes?.map(({ name }) => name),
    ['notes_lower_idx', 'notes_owner_at', 'notes_pkey'],
  )
  assert.deepEqual(
    notes?.triggers?.map(({ name, enabled }) => [name, enabled]),
    [['touches', false]],
  )
  assert.deepEqual(
    notes?.policies?.map(({ name, command, using, roles }) => [name, command, using, roles]),
    [['owned', 'select', '(owner = 2)', ['authenticated']]],
  )
  assert.deepEqual(
    found.views.map(({ name, security_invoker, materialised }) => [name, security_invoker, materialised]),
    [
      ['mine', true, false],
      ['counted', false, true],
    ],
  )
  const touch = found.functions.find(({ name }) => name === 'touch') as Record<string, unknown> | undefined
  assert.equal(touch?.security, 'definer')
  assert.match(String(touch?.definition), /SET search_path TO ''/)
  assert.equal((touch?.grants as Record<string, unknown> | undefined)?.public, undefined)
  assert.deepEqual(
    found.enums.map(({ labels }) => labels),
    [['sad', "it's ok"]],
  )
  assert.ok(found.roles.some(({ name }) => name === 'editor'))
  assert.ok(found.extensions.some(({ name, schema }) => name === 'pg_trgm' && schema === 'extensions'))
  const news = found.publications.find(({ name }) => name === 'news') as Record<string, unknown> | undefined
  assert.deepEqual([news?.tables, news?.publish], [[{ schema: 'public', name: 'people' }], ['insert']])
  assert.deepEqual(Object.keys(await objects('?kinds=enums,roles&schemas=public')).toSorted(), ['enums', 'roles'])
})

test('what was made can be altered and dropped', async () => {
  await apply(
    { op: 'drop_view', schema: 'api', name: 'mine' },
    { op: 'drop_trigger', table: 'notes', name: 'touches' },
    {
      op: 'alter_column',
      table: 'notes',
      name: 'text',
      type: 'varchar(50)',
      default: "'none'",
      nullable: false,
      rename: 'body',
      comment: 'words',
    },
    { op: 'alter_column', table: 'notes', name: 'body', default: null },
    { op: 'drop_column', table: 'notes', name: 'at', cascade: true },
    { op: 'add_enum_label', name: 'mood', label: 'glad', after: 'sad' },
    { op: 'rename_enum_label', name: 'mood', label: 'sad', rename: 'low' },
    { op: 'drop_constraint', table: 'notes', name: 'notes_owner' },
    { op: 'drop_policy', table: 'notes', name: 'owned' },
    { op: 'drop_publication', name: 'news' },
    { op: 'drop_extension', name: 'pg_trgm' },
    { op: 'drop_view', name: 'counted', materialised: true },
    { op: 'revoke', privileges: ['select', 'update'], columns: ['body'], on: { kind: 'table', name: 'notes' }, from: ['editor'] },
    { op: 'revoke', privileges: ['usage'], on: { kind: 'schema', name: 'api' }, from: ['editor'] },
    { op: 'revoke_role', role: 'editor', from: ['authenticated'] },
    { op: 'drop_role', name: 'editor' },
    { op: 'drop_function', name: 'touch', arguments: '' },
    { op: 'drop_index', name: 'notes_lower_idx' },
    { op: 'alter_table', name: 'notes', move: 'api', rename: 'texts', rls: false, force_rls: true, comment: null },
    { op: 'drop_table', schema: 'api', name: 'texts' },
    { op: 'drop_table', name: 'people', cascade: true },
    { op: 'drop_enum', name: 'mood' },
    { op: 'rename_schema', name: 'api', rename: 'api2' },
    { op: 'drop_schema', name: 'api2' },
  )
  assert.deepEqual((await objects('?kinds=enums,views')).enums, [])
})

test('all or nothing, with the error of the one that failed', async () => {
  const failure = await refused({ op: 'create_schema', name: 'half' }, { op: 'drop_table', name: 'missing' })
  assert.equal(failure.details?.sqlstate, '42P01')
  assert.equal(failure.details?.statement, 1)
  assert.ok(!(await objects('?kinds=schemas')).schemas.some(({ name }) => name === 'half'))
  assert.match((await refused({ op: 'drop_everything' })).message, /changes\[0\]\.op/)
  assert.match((await refused({ op: 'drop_table', name: 'a', force: true })).message, /changes\[0\]/)
  const trigger = { op: 'create_trigger', table: 'a', name: 't', timing: 'before', events: ['select'], function: { name: 'f' } }
  assert.match((await refused(trigger)).message, /`changes\[0\]\.events\.0` must be insert, update/)
  assert.match((await refused({ op: 'alter_table', name: 'a' })).message, /changes nothing/)
  const more = { op: 'add_column', table: 'a', column: { name: 'b', type: 'int; drop schema public cascade' } }
  assert.match((await refused(more)).message, /more than one statement/)
  assert.equal((await refused({ op: 'create_extension', name: 'pg_cron' })).code, 'extension_unavailable')
  assert.equal(
    (await refused({ op: 'create_role', name: 'x' }, { op: 'grant_role', role: 'sovrabase_admin', to: ['x'] })).details?.sqlstate,
    '42501',
  )
})

test('recorded, and at hand in the command line', async () => {
  const file = join(cli.home, 'changes.json')
  writeFileSync(file, JSON.stringify([{ op: 'create_table', name: 'made', columns: [{ name: 'id', type: 'int', primary_key: true }] }]))
  assert.match((await cli.run(['db', 'change', 'changed', '-f', file, '--dry-run'])).out, /^create table "public"\."made"/)
  assert.match((await cli.run(['db', 'change', 'changed', '-f', file])).out, /Applied 1 change/)
  assert.match((await cli.run(['db', 'inspect', 'changed'])).out, /public\.made/)
  const events = await server.api<{ items: { name: string; after: { operations: string[] } }[] }>(
    'GET',
    `/projects/${project.ref}/events?limit=200`,
  )
  assert.deepEqual(events.body.items.find(({ name }) => name === 'database.changed')?.after.operations, ['create_table made'])
})
