import type { PostgrestClient } from '@supabase/postgrest-js'

/** One method of a client: what was run, and what it must answer. */
export interface Case {
  readonly method: string
  // biome-ignore lint/suspicious/noExplicitAny: each method has types of its own, and none is looked at
  readonly run: (client: PostgrestClient<any>) => any
  /** Of the answer only what is named here. */
  readonly answers: unknown
  /** What the project must allow or have, where that is not the default. */
  readonly needs?: string
}

const data = (value: unknown) => ({ data: value, error: null })
const names = (...list: string[]) => data(list.map((name) => ({ name })))
const ids = (...list: number[]) => data(list.map((id) => ({ id })))
const ADA = 'Ada Lovelace'

/** On the tables of the dialect's own tests. Each leaves the rows as they were. */
export const CASES: readonly Case[] = [
  { method: 'from', run: (c) => c.from('clients').select('name').order('id'), answers: names('Microsoft', 'Apple') },
  { method: 'schema', run: (c) => c.schema('other').from('things').select('name'), answers: names('thing') },
  { method: 'rpc', run: (c) => c.rpc('add_them', { a: 1, b: 2 }), answers: data(3) },
  {
    method: 'rpc (get)',
    run: (c) => c.rpc('get_projects', { client: 1 }, { get: true }).select('name'),
    answers: names('Windows 7', 'Windows 10'),
  },
  {
    method: 'rpc (head, count)',
    run: (c) => c.rpc('get_projects', {}, { head: true, count: 'exact' }),
    answers: { data: null, error: null, count: 5 },
  },
  { method: 'rpc (void)', run: (c) => c.rpc('nothing'), answers: { data: null, error: null, status: 204 } },
  { method: 'getOpenApiSpec', run: (c) => c.getOpenApiSpec(), answers: { error: null } },

  {
    method: 'select (embedded)',
    run: (c) => c.from('projects').select('name, clients(name), tasks(name)').eq('id', 1),
    answers: data([{ name: 'Windows 7', clients: { name: 'Microsoft' }, tasks: [{ name: 'Design w7' }, { name: 'Code w7' }] }]),
  },
  {
    method: 'select (aliases, casts, JSON)',
    run: (c) => c.from('people').select('who:name, age::text, b:data->a->b').eq('id', 1),
    answers: data([{ who: ADA, age: '36', b: [10, 20] }]),
  },
  {
    method: 'select (spread, inner)',
    run: (c) => c.from('tasks').select('name, ...projects!inner(project:name)').eq('projects.name', 'IOS'),
    answers: data([{ name: 'Design IOS', project: 'IOS' }]),
  },
  {
    method: 'select (aggregates)',
    run: (c) => c.from('amounts').select('kind, amount.sum()').order('kind'),
    answers: data([
      { kind: 'a', sum: 30.5 },
      { kind: 'b', sum: 0.1 },
    ]),
    needs: '`aggregates: true`',
  },
  {
    method: 'select (count)',
    run: (c) => c.from('clients').select('*', { count: 'exact', head: true }),
    answers: { count: 2, error: null },
  },
  {
    method: 'insert',
    run: (c) => c.from('pairs').insert({ a: 1, b: 1 }).select().rollback(),
    answers: data([{ a: 1, b: 1, note: 'none' }]),
  },
  {
    method: 'insert (many, defaults)',
    run: (c) =>
      c
        .from('pairs')
        .insert(
          [
            { a: 1, b: 1, note: 'x' },
            { a: 2, b: 2 },
          ] as never,
          { defaultToNull: false },
        )
        .select('note')
        .rollback(),
    answers: data([{ note: 'x' }, { note: 'none' }]),
  },
  {
    method: 'upsert',
    run: (c) => c.from('clients').upsert({ id: 1, name: 'Renamed' }).select('name').rollback(),
    answers: names('Renamed'),
  },
  {
    method: 'upsert (onConflict, ignoreDuplicates)',
    run: (c) => c.from('people').upsert({ code: 'A', name: 'x' }, { onConflict: 'code', ignoreDuplicates: true }).select('id').rollback(),
    answers: data([]),
  },
  {
    method: 'update',
    run: (c) => c.from('clients').update({ name: 'x' }, { count: 'exact' }).eq('id', 1).select('name').rollback(),
    answers: { ...names('x'), count: 1 },
  },
  { method: 'delete', run: (c) => c.from('pairs').delete({ count: 'exact' }).eq('a', -1), answers: { error: null, status: 204, count: 0 } },

  { method: 'eq', run: (c) => c.from('people').select('id').eq('name', ADA), answers: ids(1) },
  { method: 'neq', run: (c) => c.from('clients').select('id').neq('id', 1), answers: ids(2) },
  { method: 'gt', run: (c) => c.from('clients').select('id').gt('id', 1), answers: ids(2) },
  { method: 'gte', run: (c) => c.from('people').select('id').gte('age', 36).order('id'), answers: ids(1, 2) },
  { method: 'lt', run: (c) => c.from('people').select('id').lt('age', 41), answers: ids(1) },
  { method: 'lte', run: (c) => c.from('people').select('id').lte('age', 36), answers: ids(1) },
  { method: 'like', run: (c) => c.from('people').select('id').like('name', 'Ada%'), answers: ids(1) },
  { method: 'likeAllOf', run: (c) => c.from('people').select('id').likeAllOf('name', ['A%', '%Turing']), answers: ids(2) },
  { method: 'likeAnyOf', run: (c) => c.from('people').select('id').likeAnyOf('name', ['Ada%', '%Turing']).order('id'), answers: ids(1, 2) },
  { method: 'ilike', run: (c) => c.from('people').select('id').ilike('name', 'ADA%'), answers: ids(1) },
  { method: 'ilikeAllOf', run: (c) => c.from('people').select('id').ilikeAllOf('name', ['a%', '%TURING']), answers: ids(2) },
  {
    method: 'ilikeAnyOf',
    run: (c) => c.from('people').select('id').ilikeAnyOf('name', ['ADA%', '%TURING']).order('id'),
    answers: ids(1, 2),
  },
  { method: 'regexMatch', run: (c) => c.from('people').select('id').regexMatch('name', '^A.*g$'), answers: ids(2) },
  { method: 'regexIMatch', run: (c) => c.from('people').select('id').regexIMatch('name', '^a.*G$'), answers: ids(2) },
  { method: 'is', run: (c) => c.from('people').select('id').is('age', null), answers: ids(3) },
  { method: 'isDistinct', run: (c) => c.from('people').select('id').isDistinct('age', 36).order('id'), answers: ids(2, 3) },
  {
    method: 'in',
    run: (c) => c.from('people').select('id').in('name', [ADA, 'none, of this name']).order('id'),
    answers: ids(1),
    needs: 'values without a double quote: the client does not escape it (`filter` does what it is told)',
  },
  { method: 'notIn', run: (c) => c.from('clients').select('id').notIn('id', [1]), answers: ids(2) },
  { method: 'contains', run: (c) => c.from('people').select('id').contains('tags', ['math']), answers: ids(1) },
  { method: 'contains (jsonb)', run: (c) => c.from('people').select('id').contains('data', { n: 2 }), answers: ids(2) },
  { method: 'containedBy', run: (c) => c.from('people').select('id').containedBy('tags', ['code', 'x']).order('id'), answers: ids(2, 3) },
  { method: 'rangeGt', run: (c) => c.from('people').select('id').rangeGt('span', '[10,15)'), answers: ids(2) },
  { method: 'rangeGte', run: (c) => c.from('people').select('id').rangeGte('span', '[20,25)'), answers: ids(2) },
  { method: 'rangeLt', run: (c) => c.from('people').select('id').rangeLt('span', '[10,15)'), answers: ids(1) },
  { method: 'rangeLte', run: (c) => c.from('people').select('id').rangeLte('span', '[1,10)'), answers: ids(1) },
  { method: 'rangeAdjacent', run: (c) => c.from('people').select('id').rangeAdjacent('span', '[10,20)').order('id'), answers: ids(1, 2) },
  { method: 'overlaps', run: (c) => c.from('people').select('id').overlaps('span', '[5,6)'), answers: ids(1) },
  {
    method: 'textSearch',
    run: (c) => c.from('people').select('id').textSearch('search', 'lovelace', { config: 'english', type: 'websearch' }),
    answers: ids(1),
  },
  { method: 'match', run: (c) => c.from('people').select('id').match({ name: ADA, age: 36 }), answers: ids(1) },
  { method: 'not', run: (c) => c.from('people').select('id').not('age', 'is', null).order('id'), answers: ids(1, 2) },
  {
    method: 'or',
    run: (c) => c.from('people').select('id').or('age.gt.40,and(age.is.null,name.like.Grace*)').order('id'),
    answers: ids(2, 3),
  },
  {
    method: 'or (referencedTable)',
    run: (c) => c.from('projects').select('id, tasks(id)').eq('id', 1).or('name.like.Code*,id.eq.99', { referencedTable: 'tasks' }),
    answers: data([{ id: 1, tasks: [{ id: 2 }] }]),
  },
  { method: 'filter', run: (c) => c.from('people').select('id').filter('data->>n', 'eq', '2'), answers: ids(2) },

  {
    method: 'order',
    run: (c) => c.from('people').select('id').order('age', { ascending: false, nullsFirst: true }),
    answers: ids(3, 2, 1),
  },
  {
    method: 'order (referencedTable)',
    run: (c) => c.from('projects').select('tasks(id)').eq('id', 1).order('id', { ascending: false, referencedTable: 'tasks' }),
    answers: data([{ tasks: [{ id: 2 }, { id: 1 }] }]),
  },
  { method: 'limit', run: (c) => c.from('people').select('id').order('id').limit(1), answers: ids(1) },
  {
    method: 'range',
    run: (c) => c.from('people').select('id', { count: 'exact' }).order('id').range(1, 1),
    answers: { ...ids(2), count: 3, status: 206 },
  },
  {
    method: 'abortSignal',
    run: (c) => c.from('clients').select('id').abortSignal(AbortSignal.timeout(60_000)).order('id'),
    answers: ids(1, 2),
  },
  { method: 'single', run: (c) => c.from('clients').select('id').eq('id', 1).single(), answers: data({ id: 1 }) },
  {
    method: 'single (none)',
    run: (c) => c.from('clients').select('id').eq('id', 0).single(),
    answers: { data: null, status: 406, error: { code: 'PGRST116' } },
  },
  { method: 'maybeSingle', run: (c) => c.from('clients').select('id').eq('id', 0).maybeSingle(), answers: data(null) },
  { method: 'csv', run: (c) => c.from('clients').select('id,name').order('id').csv(), answers: data('id,name\n1,Microsoft\n2,Apple') },
  {
    method: 'geojson',
    run: (c) => c.from('clients').select('id').geojson(),
    answers: { error: null, data: { type: 'FeatureCollection' } },
    needs: 'PostGIS, which the bundled PostgreSQL lacks (run here with a stand-in for its function)',
  },
  {
    method: 'explain',
    run: (c) => c.from('clients').select('id').explain({ format: 'json' }),
    answers: { error: null },
    needs: '`plan_enabled: true`',
  },
  {
    method: 'rollback',
    run: (c) => c.from('clients').insert({ id: 9, name: 'x' }).rollback(),
    answers: { error: null, status: 201 },
    needs: '`tx_end: "commit-allow-override"`',
  },
  {
    method: 'maxAffected',
    run: (c) =>
      (c.from('clients').update({ name: 'x' }).gt('id', 0) as unknown as { maxAffected(n: number): PromiseLike<unknown> }).maxAffected(1),
    answers: { error: { code: 'PGRST124' } },
  },
  { method: 'stripNulls', run: (c) => c.from('people').select('id,age').eq('id', 3).stripNulls(), answers: ids(3) },
  {
    method: 'throwOnError',
    run: (c) =>
      c
        .from('nowhere')
        .select()
        .throwOnError()
        .then(
          () => null,
          (error: { code: string }) => ({ thrown: error.code }),
        ),
    answers: { thrown: 'PGRST205' },
  },
  { method: 'setHeader', run: (c) => c.from('clients').select('id').setHeader('Range', '0-0').order('id'), answers: ids(1) },
  { method: 'retry', run: (c) => c.from('clients').select('id').retry(false).eq('id', 1), answers: ids(1) },
  { method: 'returns', run: (c) => c.from('clients').select('id').eq('id', 1).returns<{ id: number }[]>(), answers: ids(1) },
  { method: 'overrideTypes', run: (c) => c.from('clients').select('id').eq('id', 1).overrideTypes<{ id: number }[]>(), answers: ids(1) },
]
