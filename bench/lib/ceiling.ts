/** The ceiling: pgbench on the project's own cluster, with the statements that the API plans, prepared, all before one Sync. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bind, type Param } from '@sovrabase/server/apis/rest/plan/sql'
import { type Cluster, type PgbenchRound, pgbench } from './pgbench.ts'

/** A value that differs from request to request: its text in the plan's parameters, and the same as a pgbench expression. */
export interface Varying {
  readonly text: string
  readonly expression: string
}

export interface CeilingOptions {
  readonly cluster: Cluster
  readonly roles: readonly string[]
  readonly clients: number
  /** `\set` lines, run before each transaction. */
  readonly setup: readonly string[]
  readonly plan: { readonly sql: string; readonly params: readonly Param[] }
  readonly values: readonly string[]
  readonly body: string
  readonly varying: readonly Varying[]
  /** Claims before and after the expression of the user. */
  readonly claims: (role: string) => readonly [before: string, user: string, after: string]
  /** Further settings: what the API sets beside role and claims. */
  readonly settings: Readonly<Record<string, string>>
}

export interface Ceiling {
  run(seconds: number): Promise<PgbenchRound>
  stop(): void
}

export function makeCeiling(options: CeilingOptions): Ceiling {
  const { cluster, plan, roles } = options
  const folder = mkdtempSync(join(tmpdir(), 'sovra-bench-pg-'))
  const variables = new Map<string, string>()
  const variable = (value: string): string => {
    const name = `v${variables.size}`
    variables.set(name, value)
    return `:${name}`
  }
  const bound = bind(plan.params, options.values, options.body)
  const expressions = bound.map((text) => options.varying.find((one) => one.text === text)?.expression ?? variable(text))
  const query = plan.sql
    .replaceAll(/\$(\d+)/g, (_, n: string) => expressions[Number(n) - 1] ?? '')
    // pgbench would take :cntrl for a variable of its own; the planner makes it one constant again.
    .replaceAll(`'[[:cntrl:]]'`, `('[[' || chr(58) || 'cntrl' || chr(58) || ']]')`)
  const more = Object.entries(options.settings).map(([name, value]) => ` or set_config('${name}', ${variable(value)}, true) is null`)
  const scripts = roles.map((role) => {
    const [before, user, after] = options.claims(role)
    const claims = `${variable(before)}::text || ${user} || ${variable(after)}`
    const text = `${options.setup.join('\n')}
\\startpipeline
select where set_config('role', '${role}', true) is null or set_config('request.jwt.claims', ${claims}, true) is null${more.join('')};
${query};
\\endpipeline
`
    const path = join(folder, role)
    writeFileSync(path, text)
    return path
  })

  return {
    run: (seconds) => pgbench(cluster, { clients: options.clients, seconds, files: scripts, variables }),
    stop: () => rmSync(folder, { recursive: true, force: true }),
  }
}
