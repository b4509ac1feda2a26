import type { Explained, ExplainOrder } from '@sovrabase/contract/database'
import { fail } from '../../../base/errors.ts'
import { Portal } from '../portal.ts'
import { type Session, told } from '../session.ts'
import { become, statementsOf } from './run.ts'
import { textOf } from './values.ts'

/** A node of EXPLAIN (FORMAT JSON); what we read of it. */
interface Node {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly Alias?: string
  readonly 'Join Type'?: string
  readonly 'Plan Rows': number
  readonly 'Total Cost': number
  readonly 'Actual Rows'?: number
  readonly 'Actual Loops'?: number
  readonly 'Actual Total Time'?: number
  readonly 'Rows Removed by Filter'?: number
  readonly Filter?: string
  readonly 'Index Cond'?: string
  readonly 'Hash Cond'?: string
  readonly 'Join Filter'?: string
  readonly 'Sort Key'?: readonly string[]
  readonly 'Sort Space Type'?: string
  readonly Plans?: readonly Node[]
}

interface Plan {
  readonly Plan: Node
  readonly 'Planning Time'?: number
  readonly 'Execution Time'?: number
}

const CONDITIONS = ['Index Cond', 'Hash Cond', 'Join Filter', 'Filter'] as const
/** A sequential scan that throws away so many rows, and such a part of what it reads, wants an index. */
const REMOVED = { rows: 1000, part: 0.9 }
/** Planned and seen rows differ by so much. */
const WRONG = 10

function head(node: Node): string {
  const { 'Node Type': type, 'Relation Name': table, 'Index Name': index, Alias: alias, 'Join Type': join } = node
  const on = table === undefined ? '' : ` on ${table}${alias === undefined || alias === table ? '' : ` ${alias}`}`
  return `${join && join !== 'Inner' ? `${join} ` : ''}${type}${index === undefined ? '' : ` using ${index}`}${on}`
}

function numbers(node: Node): string {
  const { 'Actual Rows': rows, 'Actual Loops': loops = 1, 'Actual Total Time': time } = node
  const planned = `cost ${node['Total Cost']}, rows ${node['Plan Rows']}`
  if (rows === undefined) return planned
  return `rows ${Math.round(rows * loops)} (planned ${node['Plan Rows']}), ${((time ?? 0) * loops).toFixed(2)} ms${loops > 1 ? `, ${loops} times` : ''}`
}

function lines(node: Node, depth: number): string[] {
  const pad = '  '.repeat(depth)
  const found = [`${pad}${depth === 0 ? '' : '→ '}${head(node)}  (${numbers(node)})`]
  for (const name of CONDITIONS) if (node[name] !== undefined) found.push(`${pad}    ${name}: ${node[name]}`)
  if (node['Sort Key']) found.push(`${pad}    Sort Key: ${node['Sort Key'].join(', ')}`)
  if (node['Rows Removed by Filter']) found.push(`${pad}    Removed by it: ${node['Rows Removed by Filter']} rows`)
  return [...found, ...(node.Plans ?? []).flatMap((inner) => lines(inner, depth + 1))]
}

function notesOf(node: Node): string[] {
  const found: string[] = []
  const { 'Actual Rows': rows, 'Plan Rows': planned, 'Rows Removed by Filter': removed = 0 } = node
  const table = node['Relation Name'] ?? ''
  if (node['Node Type'] === 'Seq Scan' && removed >= REMOVED.rows && removed >= (removed + (rows ?? 0)) * REMOVED.part)
    found.push(
      `${table} is read whole and ${removed} of its rows are thrown away: an index for ${node.Filter ?? 'its filter'} would spare that.`,
    )
  if (rows !== undefined && Math.max(rows, 1) > planned * WRONG)
    found.push(`${head(node)} answered ${Math.round(rows)} rows where ${planned} were planned: ANALYZE the tables.`)
  if (node['Sort Space Type'] === 'Disk') found.push(`${head(node)} sorts on disk: raise work_mem, or read fewer rows.`)
  return [...found, ...(node.Plans ?? []).flatMap(notesOf)]
}

function readable({ Plan: plan, 'Planning Time': planning, 'Execution Time': execution }: Plan): string {
  const times = [
    planning === undefined ? '' : `planning ${planning} ms`,
    execution === undefined ? '' : `execution ${execution} ms`,
  ].filter(Boolean)
  return [...lines(plan, 0), ...(times.length > 0 ? [times.join(', ')] : [])].join('\n')
}

/** The plan of one statement. With `analyze` it is run; what it wrote is rolled back. */
export async function explain(session: Session, order: ExplainOrder): Promise<Explained> {
  const { sql, params = [], role = null, claims = null, analyze = false } = order
  const statements = statementsOf({ sql, params })
  const [statement] = statements
  if (statements.length !== 1 || !statement) throw fail('invalid_request', { reason: 'one statement is explained at a time' })
  await become(session, { role, claims })
  await session.query(analyze ? 'begin' : 'begin read only')
  const before = `explain (format json, verbose false${analyze ? ', analyze, buffers' : ''}) `
  try {
    const portal = new Portal(before + statement.text, params.map(textOf), 0)
    session.client.query(portal)
    const [row] = (await portal.batch).rows
    const [found] = JSON.parse(row?.[0] ?? '[]') as Plan[]
    if (!found?.Plan) throw fail('invalid_request', { reason: 'this statement has no plan' })
    return { text: readable(found), notes: [...new Set(notesOf(found.Plan))], plan: found }
  } catch (error) {
    throw told(error, { sql, start: statement.start, statement: 0, before: before.length })
  } finally {
    if (session.status !== 'I') await session.query('rollback').catch(() => undefined)
  }
}
