import { fail } from '../../../base/errors.ts'
import type { Column, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { appliedPreferences } from './applied.ts'
import { conditionSql } from './fields.ts'
import { readNeeds } from './read.ts'
import { askedSql, bodySql, guardedResponseSql, guardSql, ROWS } from './result.ts'
import { selectSql } from './select.ts'
import { arrayLiteral, ident, Params, qualified } from './sql.ts'
import { buildTree, type Node } from './tree.ts'
import type { Action, BodyShape, Need, Plan, PlanInput } from './types.ts'

const SOURCE = '"_sovra_source"'
const BODY = '"_sovra_body"'
/** Counts inserted rows of an upsert: +1 for each row that is offered, -1 for each that is then merged. Gone with the transaction. */
const INSERTED = `nullif(current_setting('sovrabase.inserted', true), '')::int`
const counting = (by: string, never: string) =>
  `set_config('sovrabase.inserted', (coalesce(${INSERTED}, 0) ${by})::text, true) <> '${never}'`

interface Write {
  readonly input: PlanInput
  readonly table: Table
  readonly root: Node
  readonly params: Params
  readonly body: BodyShape
  /** Columns that are written. */
  readonly columns: readonly Column[]
  /** Names after RETURNING; empty where nothing is asked back. */
  readonly returning: readonly string[]
}

/** POST, PATCH, DELETE and PUT of a table or view. Pure. */
export function planWrite(action: Exclude<Action, 'read' | 'call'>, input: PlanInput, table: Table, body: BodyShape): Plan {
  const root = buildTree(input.query, { ...input, table, name: table.name })
  const represented = input.prefer.return === 'representation'
  const write: Write = {
    input,
    table,
    root,
    params: new Params(),
    body,
    columns: action === 'delete' ? [] : written(table, input.query.columns ?? body.keys),
    returning: represented ? returned(root) : input.prefer.return === 'headers-only' ? table.primaryKey : [],
  }
  if (action === 'upsert') checkUpsert(write)
  const mutation = MUTATIONS[action](write)
  const counted = action === 'upsert' || (action === 'insert' && merges(write))
  const columns = [
    represented ? bodySql(input.media) : `''`,
    pageSql(action, input),
    'null',
    action === 'insert' && input.prefer.return === 'headers-only' ? locationSql(write) : 'null',
    counted ? INSERTED : 'null',
    guardedResponseSql(input.catalogue.version),
  ]
  const rows = represented ? selectSql(root, write.params, { maxRows: null, source: SOURCE, bare: true }) : `select * from ${SOURCE}`
  return {
    sql: askedSql(input.media, `with ${SOURCE} as (${mutation}) select ${columns.join(', ')} from (${rows}) as ${ROWS}`),
    params: write.params.list,
    action,
    readOnly: false,
    media: input.media,
    head: false,
    prefer: input.prefer,
    single: input.media.kind === 'object',
    offset: null,
    explain: null,
    maxRows: null,
    needs: needsOf(action, write),
    name: table.name,
    isVoid: false,
    routine: null,
    merges: action === 'insert' && merges(write),
    applied: applied(action, write),
  }
}

function written(table: Table, names: readonly string[]): Column[] {
  return [...new Set(names)].sort().map((name) => {
    const column = table.columns.get(name)
    if (!column) throw fail('PGRST204', { column: name, table: table.name })
    return column
  })
}

/** Columns that the representation needs: what is selected, and what joins embedded resources. */
function returned(root: Node): readonly string[] {
  const names = new Set<string>()
  for (const { field } of root.fields) names.add(field.name)
  for (const { relation } of root.children) {
    if (relation?.routine) names.add('*')
    for (const [column] of relation?.columns ?? []) names.add(column)
  }
  for (const name of root.table?.primaryKey ?? []) names.add(name)
  return names.has('*') || names.size === 0 ? ['*'] : [...names]
}

const target = ({ table }: Write) => qualified(table.schema, table.name)
const returningSql = ({ table, returning }: Write) =>
  returning.length === 0
    ? 'returning 1'
    : `returning ${returning.map((name) => `${ident(table.name)}.${name === '*' ? '*' : ident(name)}`).join(', ')}`

/** FROM clause that makes rows of the body; values of domains go through their casts. */
function bodyRows(write: Write): string {
  const rows = recordRows(write)
  if (!write.columns.some(({ casts }) => casts?.fromJson)) return rows
  const columns = write.columns.map(({ name, casts }) => {
    const plain = `${BODY}.${ident(name)}`
    return casts?.fromJson ? `${casts.fromJson}(${plain}) as ${ident(name)}` : plain
  })
  return `(select ${columns.join(', ')} from ${rows}) as ${BODY}`
}

function recordRows({ input, body, columns, params }: Write): string {
  if (columns.length === 0) return body.isArray ? `json_array_elements(${params.body()}::json) as ${BODY}` : `(values (1)) as ${BODY}`
  const list = columns.map((column) => `${ident(column.name)} ${column.casts?.fromJson ? 'json' : column.type}`).join(', ')
  if (input.prefer.missing !== 'default') return `json_to_record${body.isArray ? 'set' : ''}(${params.body()}::json) as ${BODY}(${list})`
  const defaults = columns
    .filter((column) => column.default !== null && !column.generated)
    .map((column) => `${params.text(column.name)}::text, ${column.default}`)
  const initial = `jsonb_build_object(${defaults.join(', ')})`
  const merged = body.isArray
    ? `select jsonb_agg(${initial} || element) as rows from jsonb_array_elements(${params.body()}::jsonb) as element`
    : `select ${initial} || ${params.body()}::jsonb as rows`
  return `(${merged}) as "_sovra_d", lateral jsonb_to_record${body.isArray ? 'set' : ''}("_sovra_d".rows) as ${BODY}(${list})`
}

function whereSql({ root, params }: Write): string {
  const noEmbeds = () => {
    throw fail('PGRST108', { name: root.name })
  }
  // The rows written are called by the table's own name, not by an alias.
  const conditions = root.conditions.map((condition) => conditionSql(condition, { ...root, children: [] }, params, noEmbeds))
  return conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`
}

const merges = ({ input, table }: Write) =>
  input.prefer.resolution === 'merge-duplicates' && (input.query.onConflict ?? table.primaryKey).length > 0

function conflictSql(write: Write, resolution: 'merge-duplicates' | 'ignore-duplicates' | null, columns: readonly string[]): string {
  if (resolution === null || columns.length === 0) return ''
  const on = ` on conflict (${columns.map(ident).join(', ')})`
  if (resolution === 'ignore-duplicates' || write.columns.length === 0) return `${on} do nothing`
  const sets = write.columns.map(({ name }) => `${ident(name)} = excluded.${ident(name)}`).join(', ')
  return `${on} do update set ${sets} where ${counting('- 1', '-1')}`
}

function insertRows(write: Write, extra: readonly string[], counted: boolean): string {
  const { columns } = write
  const names = columns.map(({ name }) => ident(name))
  const list = names.length === 0 ? '' : `(${names.join(', ')})`
  const where = [...extra, ...(counted ? [counting('+ 1', '0')] : [])]
  const select = `select ${names.map((name) => `${BODY}.${name}`).join(', ')} from ${bodyRows(write)}`
  return `insert into ${target(write)}${list} ${select}${where.length === 0 ? '' : ` where ${where.join(' and ')}`}`
}

function insertSql(write: Write): string {
  const { input, table } = write
  const conflict = conflictSql(write, input.prefer.resolution, input.query.onConflict ?? table.primaryKey)
  return `${insertRows(write, [], merges(write))}${conflict} ${returningSql(write)}`
}

function updateSql(write: Write): string {
  const { columns, table, returning } = write
  if (columns.length === 0) {
    const list =
      returning.length === 0 ? '1' : returning.map((name) => `${ident(table.name)}.${name === '*' ? '*' : ident(name)}`).join(', ')
    return `select ${list} from ${target(write)} where false`
  }
  const sets = columns.map(({ name }) => `${ident(name)} = ${BODY}.${ident(name)}`).join(', ')
  return `update ${target(write)} set ${sets} from ${bodyRows(write)}${whereSql(write)} ${returningSql(write)}`
}

const deleteSql = (write: Write): string => `delete from ${target(write)}${whereSql(write)} ${returningSql(write)}`

/** PUT names exactly one row by its whole primary key. */
function checkUpsert({ input, table }: Write): void {
  const { conditions, limit, offset } = input.query
  if (limit.length > 0 || offset.length > 0) throw fail('PGRST114')
  const names = conditions.map(({ path, condition }) =>
    path.length === 0 &&
    condition.kind === 'filter' &&
    !condition.not &&
    condition.field.path.length === 0 &&
    condition.operation.kind === 'compare' &&
    condition.operation.operator === 'eq' &&
    condition.operation.quantifier === null
      ? condition.field.name
      : null,
  )
  const key = table.primaryKey
  if (key.length === 0 || names.length !== key.length || !key.every((name) => names.includes(name))) throw fail('PGRST105')
}

function upsertSql(write: Write): string {
  const { root, params, table } = write
  const own: Node = { ...root, alias: '_sovra_body', children: [] }
  const filters = root.conditions.map((condition) => conditionSql(condition, own, params, () => 'false'))
  return `${insertRows(write, filters, true)}${conflictSql(write, 'merge-duplicates', table.primaryKey)} ${returningSql(write)}`
}

const MUTATIONS = { insert: insertSql, update: updateSql, delete: deleteSql, upsert: upsertSql } as const

function pageSql(action: Action, { media, prefer }: PlanInput): string {
  if (action === 'upsert') return guardSql('PGRST115', 'count(*) = 1')
  if (media.kind === 'object') return guardSql('PGRST116', 'count(*) = 1')
  if (prefer.maxAffected !== null && prefer.handling === 'strict' && action !== 'insert') {
    return guardSql('PGRST124', `count(*) <= ${prefer.maxAffected}`)
  }
  return 'count(*)'
}

function locationSql({ table, params }: Write): string {
  if (table.primaryKey.length === 0) return 'null'
  const keys = params.text(arrayLiteral(table.primaryKey))
  const pairs = `select json_agg(json_build_array(e.key, e.value))::text from (select row_to_json(s.*) as row from ${SOURCE} as s limit 1) as d, json_each_text(d.row) as e where e.key = any(${keys}::text[])`
  return `case when count(*) = 1 then (${pairs}) end`
}

function needsOf(action: Action, write: Write): Need[] {
  const { table, returning, root } = write
  const reads = returning.length > 0 || root.conditions.length > 0
  const letters = { insert: merges(write) ? 'raw' : 'a', update: 'w', delete: 'd', upsert: 'raw', read: '', call: '' }[action]
  return [{ table, letters: reads && !letters.includes('r') ? `r${letters}` : letters }, ...readNeeds(root).slice(1)]
}

function applied(action: Action, { input, table }: Write): string {
  const { prefer } = input
  switch (action) {
    case 'insert': {
      const resolvable = table.primaryKey.length > 0 || input.query.onConflict !== null
      const missing = [
        ...(resolvable ? (['resolution'] as const) : []),
        'missing',
        'return',
        'count',
        'tx',
        'handling',
        'timezone',
      ] as const
      return appliedPreferences(prefer, missing)
    }
    case 'update':
      return appliedPreferences(prefer, ['missing', 'return', 'count', 'tx', 'handling', 'timezone', 'max-affected'])
    case 'upsert':
      return appliedPreferences(prefer, ['return', 'count', 'tx', 'handling', 'timezone'])
    default:
      return appliedPreferences(prefer, ['return', 'count', 'tx', 'handling', 'timezone', 'max-affected'])
  }
}
