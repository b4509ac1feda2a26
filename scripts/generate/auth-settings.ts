import { AUTH_DEFAULTS, AuthSettings, RATE_DEFAULTS } from '@sovrabase/contract/auth'

interface Shown {
  readonly type?: string
  readonly const?: unknown
  readonly description?: string
  readonly anyOf?: readonly Shown[]
  readonly properties?: Readonly<Record<string, Shown>>
  readonly patternProperties?: object
  readonly items?: Shown
  readonly minimum?: number
  readonly maximum?: number
  readonly secret?: boolean
}

const HEAD = `# Settings of auth

Made from the sources by \`npm run generate\`. They are rows of a project (or of the platform), changed by
\`PATCH /v1/projects/<ref>/settings/auth\` with a JSON merge patch (\`null\` takes a setting back to its default), and in force on all nodes at once.
[auth.md](auth.md) says how they work together. Durations are whole seconds. Secrets are stored encrypted and never answered.

| setting | values | default | what it does |
|---|---|---|---|
`

function valuesOf(schema: Shown): string {
  if (schema.secret) return 'secret'
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.anyOf) return schema.anyOf.map(valuesOf).join(', ')
  if (schema.type === 'integer') return `${schema.minimum ?? ''}–${schema.maximum ?? ''}`
  if (schema.type === 'array') return `list of ${schema.items?.type === 'string' ? 'texts' : 'objects'}`
  if (schema.type === 'boolean') return 'true, false'
  return schema.type === 'null' ? 'null' : schema.patternProperties ? 'object' : (schema.type ?? '')
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

function rows(schema: Shown, path: string, defaults: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const at = path + name
    if (member.properties) {
      const below = rows(member, `${at}.`, name === 'rates' ? { ...RATE_DEFAULTS } : {})
      return member.description ? [`| \`${at}\` | object | | ${cell(member.description)} |`, ...below] : below
    }
    const given = defaults[name]
    const standard = given === undefined ? '' : `\`${JSON.stringify(given)}\``
    return [`| \`${at}\` | ${cell(valuesOf(member))} | ${cell(standard)} | ${cell(member.description ?? '')} |`]
  })
}

export const authSettingsReference = (): string => `${HEAD}${rows(AuthSettings as unknown as Shown, '', AUTH_DEFAULTS).join('\n')}\n`
