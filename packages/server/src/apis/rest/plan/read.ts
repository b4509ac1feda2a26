import type { Table } from '../../../runtime/engines/postgres/catalogue/types.ts'
import { appliedPreferences } from './applied.ts'
import { lifts } from './lift.ts'
import { askedSql, bodySql, ROWS, responseSql, shownMedia } from './result.ts'
import { countableSql, type SelectOptions, selectSql } from './select.ts'
import { Params } from './sql.ts'
import { streamedOf } from './stream.ts'
import { buildTree, type Node, nodesOf } from './tree.ts'
import type { Need, Plan, PlanInput, Statement } from './types.ts'

/** Tables that a tree reads. */
export const readNeeds = (root: Node): Need[] =>
  [...nodesOf(root)].flatMap(({ table, relation }) => [
    ...(table ? [{ table, letters: 'r' }] : []),
    ...(relation?.junction ? [{ table: relation.junction.table, letters: 'r' }] : []),
  ])

/** The number of all rows as an expression, or null where it is not asked for. Estimated: exact up to one more than a page. */
export function totalSql(root: Node, params: Params, options: SelectOptions, count: string | null): string | null {
  if (count !== 'exact' && count !== 'estimated') return null
  // Without a window, the page is all.
  if (root.limit === null && root.offset === null && options.maxRows === null && !isGrouped(root)) return 'count(*)'
  const rows = countableSql(root, params, options)
  const limit = count === 'estimated' && options.maxRows !== null ? ` limit ${options.maxRows + 1}` : ''
  return `(select count(*) from (${rows}${limit}) as "_sovra_c")`
}

const isGrouped = (node: Node): boolean => node.fields.some(({ aggregate }) => aggregate !== null) || node.children.some(lifts)

export function explainStatement(root: Node, options: SelectOptions, count: string | null): Statement | null {
  if (count !== 'planned' && count !== 'estimated') return null
  const params = new Params()
  return { sql: `explain (format json) ${countableSql(root, params, options)}`, params: params.list }
}

/** GET and HEAD of a table or view. Pure. */
export function planRead(input: PlanInput, table: Table): Plan {
  const { media, prefer } = input
  const root = buildTree(input.query, { ...input, table, name: table.name })
  const params = new Params()
  const options: SelectOptions = { maxRows: input.maxRows, source: null, bare: false }
  const rows = selectSql(root, params, options)
  const total = totalSql(root, params, options, prefer.count)
  // What makes a body may say its name or type.
  const responds = input.responds === true || (media.kind === 'custom' && !input.head)
  const columns: string[] = [input.head ? `''` : bodySql(media), 'count(*)', ...(total === null && !responds ? [] : [total ?? 'null'])]
  if (responds) columns.push('null', 'null', responseSql)
  const sql =
    shownMedia(media).kind === 'csv' && !input.head
      ? `with "_sovra_source" as (${rows}) select ${columns.join(', ')} from (select * from "_sovra_source") as ${ROWS}`
      : `select ${columns.join(', ')} from (${rows}) as ${ROWS}`
  return {
    sql: askedSql(media, sql),
    params: params.list,
    action: 'read',
    readOnly: true,
    media,
    head: input.head,
    prefer,
    single: media.kind === 'object',
    offset: root.offset,
    explain: media.kind === 'plan' ? null : explainStatement(root, options, prefer.count),
    maxRows: input.maxRows,
    stream: streamedOf(input, root, options),
    needs: readNeeds(root),
    name: table.name,
    isVoid: false,
    routine: null,
    merges: false,
    applied: appliedPreferences(prefer, ['count', 'tx', 'handling', 'timezone']),
  }
}
