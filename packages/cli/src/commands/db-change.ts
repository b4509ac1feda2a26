import type { ChangeAnswer, Objects } from '@sovrabase/contract/database'
import { findProject } from '../api/find.ts'
import { showingWhere } from '../database/told.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { count, table } from '../terminal/output.ts'
import { readSql } from './db-sql.ts'

function changesOf(text: string): unknown[] {
  try {
    const found: unknown = JSON.parse(text)
    return Array.isArray(found) ? found : [found]
  } catch (error) {
    throw stop('usage_wrong', {
      reason: `The changes are no JSON: ${(error as Error).message}`,
      hint: `[{ "op": "create_table", "name": "todos", "columns": […] }]`,
    })
  }
}

export const change = command<{ file?: string; dryRun?: boolean }, [project: string, changes?: string]>({
  use: 'change <project> [changes]',
  says: 'change the schema by JSON: tables, policies, grants …',
  examples: ['sovra db change shop -f changes.json --dry-run', `sovra db change shop '{"op":"drop_table","name":"old"}'`],
  flags: [
    ['-f, --file <file>', 'read the changes from this file; - is standard input'],
    ['--dry-run', 'only show the SQL'],
  ],
  more: 'One change or a list of them, in one transaction. A new table has row-level security on, and grants `anon` nothing unless asked.',
  async run(context, { file, dryRun = false }, given, text) {
    const changes = changesOf(await readSql(text, file, 'change'))
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const asked = client.request<ChangeAnswer>('POST', `/projects/${ref}/database/changes`, { body: { changes, dry_run: dryRun } })
    const answer = await showingWhere(asked, ({ statement = 0 }) => [
      `in change ${statement} (from 0): ${JSON.stringify(changes[statement])}`,
    ])
    return { data: answer, text: answer.applied ? `Applied ${count(changes.length, 'change')} to ${given}.` : answer.sql.join('\n') }
  },
})

type Found = Record<string, unknown> & { readonly name: string; readonly schema: string }
const many = (thing: Found, name: string): number => (thing[name] as readonly unknown[]).length

export const inspect = command<{ schema?: string[] }, [project: string]>({
  use: 'inspect <project>',
  says: 'what is in the database: tables, views, functions, enums',
  examples: ['sovra db inspect shop', 'sovra db inspect shop --schema auth --json'],
  flags: [['--schema <name>', "this schema; may be given more than once. Without it people's own", { many: true }]],
  more: '--json has everything: columns, constraints, indexes, triggers, policies, grants, roles, extensions, publications.',
  async run(context, { schema }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const found = await client.request<Objects>('GET', `/projects/${ref}/database/objects`, { query: { schemas: schema?.join(',') } })
    const [tables, views, functions, enums] = [found.tables, found.views, found.functions, found.enums].map(
      (list) => (list ?? []) as Found[],
    )
    const full = ({ schema: space, name }: Found) => `${space}.${name}`
    const parts = [
      table(
        ['TABLE', 'COLUMNS', 'INDEXES', 'POLICIES', 'RLS'],
        (tables ?? []).map((t) => [full(t), many(t, 'columns'), many(t, 'indexes'), many(t, 'policies'), t.rls ? 'on' : 'OFF']),
        new Set([1, 2, 3]),
      ),
      ...((views ?? []).length > 0
        ? [
            table(
              ['VIEW', 'READS AS'],
              (views ?? []).map((v) => [full(v), v.security_invoker ? 'caller' : 'owner']),
            ),
          ]
        : []),
      ...((functions ?? []).length > 0
        ? [
            table(
              ['FUNCTION', 'RETURNS', 'RUNS AS'],
              (functions ?? []).map((f) => [
                `${full(f)}(${f.arguments})`,
                String(f.returns),
                f.security === 'definer' ? 'owner' : 'caller',
              ]),
            ),
          ]
        : []),
      ...((enums ?? []).length > 0
        ? [
            table(
              ['ENUM', 'LABELS'],
              (enums ?? []).map((e) => [full(e), (e.labels as string[]).join(', ')]),
            ),
          ]
        : []),
    ]
    return { data: found, text: parts.join('\n\n') }
  },
})
