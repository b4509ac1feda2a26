/** `Tables<'todos'>`, `Tables<{ schema: 'api' }, 'todos'>` and the like, by the names that programs written for these types use. */
const helper = (name: string, first: string, kinds: readonly string[], member: string): string => {
  const of = (root: string) => (kinds.length === 2 ? `(${root}["Tables"] & ${root}["Views"])` : `${root}["${kinds[0]}"]`)
  const inSchema = of('DatabaseWithoutInternals[Options["schema"]]')
  const inDefault = of('DefaultSchema')
  const row = (from: string, picked: string) =>
    member === '' ? `${from}[${picked}]` : `${from}[${picked}] extends { ${member}: infer R } ? R : never`
  return `export type ${name}<
  ${first} extends keyof ${inDefault} | { schema: keyof DatabaseWithoutInternals },
  Name extends ${first} extends { schema: keyof DatabaseWithoutInternals }
    ? keyof ${inSchema.replaceAll('Options', first)}
    : never = never,
> = ${first} extends { schema: keyof DatabaseWithoutInternals }
  ? ${row(inSchema.replaceAll('Options', first), 'Name')}
  : ${first} extends keyof ${inDefault}
    ? ${row(inDefault, first)}
    : never`
}

export const HELPERS = [
  'type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">',
  'type DefaultSchema = DatabaseWithoutInternals[Extract<keyof DatabaseWithoutInternals, "public"> extends never ? keyof DatabaseWithoutInternals : Extract<keyof DatabaseWithoutInternals, "public">]',
  helper('Tables', 'NameOrSchema', ['Tables', 'Views'], 'Row'),
  helper('TablesInsert', 'NameOrSchema', ['Tables'], 'Insert'),
  helper('TablesUpdate', 'NameOrSchema', ['Tables'], 'Update'),
  helper('Enums', 'NameOrSchema', ['Enums'], ''),
  helper('CompositeTypes', 'NameOrSchema', ['CompositeTypes'], ''),
].join('\n\n')
