import { lifts } from './lift.ts'
import { ROWS } from './result.ts'
import { countableSql, type SelectOptions, selectSql, windowSql } from './select.ts'
import { Params } from './sql.ts'
import type { Node } from './tree.ts'
import type { PlanInput, Streamed } from './types.ts'

/** Rows that are made into one value inside PostgreSQL: more of them may not fit into its memory, or ours. */
const WHOLE = 1_000

/** A read of JSON that may answer more rows than are taken in one piece. Pure. */
export function streamedOf({ media, head, prefer, responds, maxRows }: PlanInput, root: Node, options: SelectOptions): Streamed | null {
  const asked = typeof root.limit === 'object' && root.limit !== null ? root.limit.rows : null
  const most = Math.min(maxRows ?? Number.POSITIVE_INFINITY, asked ?? Number.POSITIVE_INFINITY)
  if (most <= WHOLE || media.kind !== 'json' || head || responds || prefer.count !== null) return null
  if (root.children.some(lifts) || root.fields.some(({ aggregate }) => aggregate !== null)) return null
  const [rows, count] = [new Params(), new Params()]
  return {
    rows: { sql: `select row_to_json(${ROWS})::text from (${selectSql(root, rows, options)}) as ${ROWS}`, params: rows.list },
    count: {
      sql: `select count(*) from (${countableSql(root, count, options)} ${windowSql(root, count, maxRows)}) as ${ROWS}`,
      params: count.list,
    },
  }
}
