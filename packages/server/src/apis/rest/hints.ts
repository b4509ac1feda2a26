import type { Catalogue, Table } from '../../runtime/engines/postgres/catalogue/types.ts'
import type { DatabaseFields } from '../../runtime/engines/postgres/wire/errors.ts'
import { ident, qualified } from './plan/sql.ts'
import type { Plan } from './plan/types.ts'

const PRIVILEGES: Readonly<Record<string, string>> = { r: 'SELECT', a: 'INSERT', w: 'UPDATE', d: 'DELETE' }
const CHECKS: Readonly<Record<string, string>> = {
  r: 'USING (true)',
  a: 'WITH CHECK (true)',
  w: 'USING (true) WITH CHECK (true)',
  d: 'USING (true)',
}
const DENIED = /^permission denied for (\w+) (.+)$/
const VIOLATED = /^new row violates row-level security policy(?: "[^"]*")?(?: \([^)]*\))? for table "(.+)"$/

/** The statements that would allow what PostgreSQL refused (42501), as text to run; null where nothing certain can be said. Pure. */
export function grantHint(fields: DatabaseFields, role: string, plan: Plan | null, catalogue: Catalogue, schema: string): string | null {
  if (fields.sqlstate !== '42501') return null
  const violated = VIOLATED.exec(fields.message)
  if (violated) return policyHint(violated[1] ?? '', role, plan)
  const [, kind, name = ''] = DENIED.exec(fields.message) ?? []
  switch (kind) {
    case 'table':
    case 'view':
    case 'relation':
      return tableHint(name, role, plan)
    case 'schema':
      return `Run: GRANT USAGE ON SCHEMA ${ident(name)} TO ${ident(role)};`
    case 'sequence':
      return `Run: GRANT USAGE ON SEQUENCE ${qualified(sequenceSchema(name, catalogue, schema), name)} TO ${ident(role)};`
    case 'function':
      return functionHint(name, role, plan, catalogue, schema)
    default:
      return null
  }
}

const needOf = (plan: Plan | null, name: string) => plan?.needs.find(({ table }) => table.name === name) ?? null
const onTable = (table: Table) => qualified(table.schema, table.name)

function covered(table: Table, letter: string, role: string): boolean {
  return table.policies.some(
    ({ command, roles }) => (command === '*' || command === letter) && (roles.includes('public') || roles.includes(role)),
  )
}

const policy = (table: Table, letter: string, role: string) => {
  const name = ident(`${role} ${(PRIVILEGES[letter] ?? '').toLowerCase()}`)
  return `CREATE POLICY ${name} ON ${onTable(table)} FOR ${PRIVILEGES[letter]} TO ${ident(role)} ${CHECKS[letter]};`
}

function tableHint(name: string, role: string, plan: Plan | null): string | null {
  const need = needOf(plan, name)
  if (!need) return null
  const { table } = need
  const held = table.grants[role] ?? ''
  const missing = [...need.letters].filter((letter) => !held.includes(letter))
  // Held on some columns only: the whole set is named.
  const letters = missing.length > 0 ? missing : [...need.letters]
  const statements = [`GRANT ${letters.map((letter) => PRIVILEGES[letter]).join(', ')} ON ${onTable(table)} TO ${ident(role)};`]
  if (table.kind === 'r' || table.kind === 'p') {
    if (!table.rowSecurity) statements.push(`ALTER TABLE ${onTable(table)} ENABLE ROW LEVEL SECURITY;`)
    if (role !== 'service_role')
      for (const letter of letters) if (!covered(table, letter, role)) statements.push(policy(table, letter, role))
  }
  return `Run: ${statements.join(' ')}`
}

function policyHint(name: string, role: string, plan: Plan | null): string | null {
  const need = needOf(plan, name)
  if (!need) return null
  const letter = [...need.letters].find((one) => one === 'a' || one === 'w') ?? 'a'
  return covered(need.table, letter, role)
    ? `The new row meets no policy of ${onTable(need.table)} for ${PRIVILEGES[letter]}: see pg_policies.`
    : `Run, with your condition for true: ${policy(need.table, letter, role)}`
}

function functionHint(name: string, role: string, plan: Plan | null, catalogue: Catalogue, schema: string): string {
  const routine = plan?.routine?.name === name ? plan.routine : { schema, name }
  const overloads = catalogue.schemas.get(routine.schema)?.functions.get(name) ?? []
  const [only] = overloads
  const types = overloads.length === 1 && only ? `(${only.args.map((argument) => argument.type).join(', ')})` : ''
  return `Run: GRANT EXECUTE ON FUNCTION ${qualified(routine.schema, name)}${types} TO ${ident(role)};`
}

function sequenceSchema(name: string, catalogue: Catalogue, fallback: string): string {
  for (const { tables } of catalogue.schemas.values()) {
    for (const table of tables.values())
      for (const column of table.columns.values()) if (column.default?.includes(name)) return table.schema
  }
  return fallback
}
