import { fail } from '../../../base/errors.ts'
import type { Argument, Catalogue, Routine, Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import type { Query } from '../parse/ast.ts'
import { eachOf, FORM_TYPE } from '../parse/body.ts'
import { appliedPreferences } from './applied.ts'
import { nearest } from './nearest.ts'
import { explainStatement, readNeeds, totalSql } from './read.ts'
import { askedSql, bodySql, guardedResponseSql, guardSql, ROWS, responseSql, shownMedia, withinSql } from './result.ts'
import { type SelectOptions, selectSql } from './select.ts'
import { ident, Params, qualified } from './sql.ts'
import { buildTree } from './tree.ts'
import type { BodyShape, Plan, PlanInput } from './types.ts'

const SOURCE = '"_sovra_source"'
const CALL = '"_sovra_call"'
const BODY = '"_sovra_body"'
const RAW_TYPES: Readonly<Record<string, readonly string[]>> = {
  'application/json': ['json', 'jsonb'],
  'text/plain': ['text'],
  'text/xml': ['xml'],
  'application/octet-stream': ['bytea'],
}

/** `body` is null for GET and HEAD: the arguments are in the query string. Pure. */
export function planCall(input: PlanInput, routine: Routine, body: BodyShape | null): Plan {
  const { media, prefer } = input
  const rowsOf = rowTable(input.catalogue, routine)
  const root = buildTree(input.query, { ...input, table: rowsOf, name: rowsOf?.name ?? routine.name })
  const params = new Params()
  const scalar = routine.returns !== 'composite'
  const call = callSql(input, routine, body, params, scalar)
  const readOnly = body === null || routine.volatility !== 'volatile'
  const options: SelectOptions = { maxRows: input.maxRows, source: SOURCE, bare: false }
  // Of one value there is nothing to choose from; a set of values is cut and ordered as rows are.
  const rows = scalar && !routine.returnsSet ? `select * from ${SOURCE}` : selectSql(root, params, options)
  const counted = totalSql(root, params, options, prefer.count) ?? 'null'
  // Past the end is an error, which must leave nothing written.
  const total = readOnly || root.offset === null || counted === 'null' ? counted : withinSql(counted, params.value(root.offset))
  const columns = [
    input.head || routine.returns === 'void' ? `''` : resultSql(input, routine),
    pageSql(input, routine, readOnly),
    total,
    'null',
    'null',
    readOnly ? responseSql : guardedResponseSql(input.catalogue.version),
  ]
  // A scalar must be computed even where nobody looks at it; rows may be filtered inside an inlined function.
  const materialised = scalar ? 'materialized ' : ''
  return {
    sql: askedSql(media, `with ${SOURCE} as ${materialised}(${call}) select ${columns.join(', ')} from (${rows}) as ${ROWS}`),
    params: params.list,
    action: 'call',
    readOnly,
    media,
    head: input.head,
    prefer,
    single: media.kind === 'object',
    offset: root.offset,
    explain: scalar || media.kind === 'plan' ? null : explained(input, root, call, options),
    maxRows: input.maxRows,
    needs: readNeeds(root),
    name: routine.name,
    isVoid: routine.returns === 'void',
    routine,
    merges: false,
    applied: appliedPreferences(prefer, ['count', 'tx', 'handling', 'timezone', 'max-affected']),
  }
}

/** The planner cannot look into a call whose parameters it has not: only a function without arguments is explained. */
function explained(input: PlanInput, root: Parameters<typeof explainStatement>[0], call: string, options: SelectOptions): Plan['explain'] {
  if (call.includes('$')) return null
  return explainStatement(root, { ...options, source: `(${call})` }, input.prefer.count)
}

/** The table or view whose rows a function returns. */
export function rowTable(catalogue: Catalogue, routine: Routine): Table | null {
  return routine.returns === 'composite' ? (catalogue.schemas.get(routine.returnSchema)?.tables.get(routine.returnType) ?? null) : null
}

function resultSql(input: PlanInput, routine: Routine): string {
  const media = shownMedia(input.media)
  if (media.kind === 'raw' || (media.kind === 'custom' && !media.handler.aggregate)) {
    return `coalesce((select s."pgrst_scalar"::text from ${SOURCE} as s limit 1), '')`
  }
  if (media.kind === 'custom' || media.kind === 'geojson') return bodySql(media)
  if (routine.returns === 'composite') {
    if (routine.returnsSet || media.kind === 'csv') return bodySql(media)
    return bodySql({ kind: 'object', stripped: media.kind === 'array' || (media.kind === 'object' && media.stripped) })
  }
  if (media.kind === 'csv') return bodySql(media)
  const list = `json_agg(${ROWS}."pgrst_scalar")`
  return routine.returnsSet && media.kind !== 'object' ? `coalesce(${list}, '[]')::text` : `coalesce((${list} -> 0)::text, 'null')`
}

function pageSql({ media, prefer }: PlanInput, routine: Routine, readOnly: boolean): string {
  if (prefer.maxAffected !== null && prefer.handling === 'strict') {
    if (!routine.returnsSet) throw fail('PGRST128')
    return guardSql('PGRST124', `count(*) <= ${prefer.maxAffected}`)
  }
  return media.kind === 'object' && !readOnly ? guardSql('PGRST116', 'count(*) = 1') : 'count(*)'
}

function callSql(input: PlanInput, routine: Routine, body: BodyShape | null, params: Params, scalar: boolean): string {
  const name = qualified(routine.schema, routine.name)
  const wrap = (args: string) => (scalar ? `(select ${name}(${args}) as "pgrst_scalar") as ${CALL}` : `${name}(${args}) as ${CALL}`)
  const select = `select ${scalar ? `${CALL}."pgrst_scalar"` : `${CALL}.*`} from`
  const [only] = routine.args
  if (body !== null && only !== undefined && only.name === '') {
    return `${select} ${wrap(`${only.type === 'bytea' ? params.bytes() : params.body()}::${only.type}`)}`
  }
  if (body === null) return `${select} ${wrap(queryArguments(input, routine, params))}`
  const keys = argumentKeys(input.query, body)
  const given = routine.args.filter((argument) => keys.includes(argument.name))
  if (given.length === 0) return `${select} ${wrap('')}`
  const key = ({ name, variadic }: Argument) => (variadic && body.type === FORM_TYPE ? eachOf(name) : name)
  const list = given.map((argument) => `${ident(key(argument))} ${argument.type}`).join(', ')
  const record = body.isArray
    ? `(select * from json_to_recordset(${params.body()}::json) as r(${list}) limit 1) as ${BODY}`
    : `json_to_record(${params.body()}::json) as ${BODY}(${list})`
  return `${select} ${record}, lateral ${wrap(given.map((argument) => `${label(argument)}${BODY}.${ident(key(argument))}`).join(', '))}`
}

const label = (argument: Argument) => `${argument.variadic ? 'variadic ' : ''}${ident(argument.name)} := `

function queryArguments({ query }: PlanInput, routine: Routine, params: Params): string {
  const given = routine.args.flatMap((argument) => {
    const slots = query.args.filter(({ name }) => name === argument.name).map(({ value }) => value)
    if (slots.length === 0) return []
    // A variadic argument that comes once may be an array as it is, as PostgreSQL writes it.
    const value = argument.variadic ? params.array(slots) : params.value(slots.at(-1) ?? 0)
    return [`${label(argument)}${value}::${argument.type}`]
  })
  return given.join(', ')
}

/** Names of the arguments in a body: `columns=` says them for JSON, which is not looked into then. */
const argumentKeys = (query: Query, body: BodyShape): readonly string[] =>
  query.columns !== null && /json$/.test(body.type) ? query.columns : body.keys

type Lookup = Pick<PlanInput, 'catalogue' | 'schema' | 'query'>

/** The overload that the names of the arguments mean. Throws PGRST202 for none, PGRST203 for several. */
export function findRoutine(input: Lookup, name: string, body: BodyShape | null): Routine {
  const overloads = input.catalogue.schemas.get(input.schema)?.functions.get(name) ?? []
  const keys = [...new Set(body === null ? input.query.args.map((argument) => argument.name) : argumentKeys(input.query, body))].sort()
  const raw = body !== null && body.type !== 'application/json' && body.type in RAW_TYPES
  const named = overloads.filter((routine) => !raw && accepts(routine, keys))
  const unnamed = overloads.filter(
    ({ args }) => body !== null && args.length === 1 && args[0]?.name === '' && RAW_TYPES[body.type]?.includes(args[0].type),
  )
  const found = named.length > 0 ? named : unnamed
  if (found.length === 1) return found[0]!
  if (found.length === 0) throw noRoutine(input, name, keys, overloads, body)
  const candidates = found
    .map((routine) => `${routine.schema}.${routine.name}(${routine.args.map((a) => `${a.name} => ${a.type}`).join(', ')})`)
    .join(', ')
  throw fail('PGRST203', { candidates })
}

function accepts(routine: Routine, keys: readonly string[]): boolean {
  const names = routine.args.map((argument) => argument.name)
  return (
    keys.every((key) => key !== '' && names.includes(key)) &&
    routine.args.every((argument) => argument.optional || (argument.name !== '' && keys.includes(argument.name)))
  )
}

export function noRoutine(
  input: Omit<Lookup, 'query'>,
  name: string,
  keys: readonly string[],
  overloads: readonly Routine[],
  body: BodyShape | null,
) {
  const full = `${input.schema}.${name}`
  const single = { 'text/plain': 'text', 'text/xml': 'xml', 'application/octet-stream': 'bytea' }[body?.type ?? '']
  const withKeys = keys.length === 0 ? ' without parameters' : ` with parameter${keys.length > 1 ? 's' : ''} ${keys.join(', ')}`
  const alternative = body?.type === 'application/json' ? ' or with a single unnamed json/jsonb parameter' : ''
  const searched = single === undefined ? `${withKeys}${alternative}` : ` with a single unnamed ${single} parameter`
  const shown = single !== undefined ? full : keys.length === 0 ? `${full} without parameters` : `${full}(${keys.join(', ')})`
  return fail(
    'PGRST202',
    { function: shown, hint: single === undefined ? routineHint(input, name, keys, overloads) : '' },
    { details: `Searched for the function ${full}${searched}, but no matches were found in the schema cache.` },
  )
}

function routineHint(input: Omit<Lookup, 'query'>, name: string, keys: readonly string[], overloads: readonly Routine[]): string {
  const prefix = `Perhaps you meant to call the function ${input.schema}.`
  const signature = (names: readonly string[]) => `(${[...names].sort().join(', ')})`
  const near =
    overloads.length === 0
      ? nearest(name, input.catalogue.schemas.get(input.schema)?.functions.keys() ?? [], 0.75)
      : nearest(
          signature(keys),
          overloads.map(({ args }) => signature(args.map((argument) => argument.name))),
          0.33,
        )
  return near === null ? '' : prefix + (overloads.length === 0 ? near : name + near)
}
