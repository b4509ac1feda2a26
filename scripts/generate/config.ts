import { isSection, type Key, keysOf, type NamedKey } from '@sovrabase/server/base/keys'
import { ConfigSchema, VARIABLE_PREFIX } from '@sovrabase/server/config'

type Schema = Parameters<typeof keysOf>[0] & { readonly description?: string }

const WIDTH = 118

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')

/** A default as it is written in YAML. */
function yaml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((entry) => JSON.stringify(entry)).join(', ')}]`
  return value === null ? '' : String(value)
}

function accepts(key: Key): string {
  const words = key['x-words']?.map((word) => `\`${word}\``) ?? []
  const or = words.length > 0 ? ` or ${words.join(', ')}` : key['x-off'] === undefined ? '' : ' or `off`'
  if (key['x-unit']) return `${key['x-unit'] === 'duration' ? 'duration' : 'size'}${or}`
  if (key.type === 'string' && key.enum) return key.enum.map((one) => `\`${one}\``).join(', ')
  if (key.type === 'array') return 'list'
  if (key['x-path']) return 'path'
  const types = [key.type].flat()
  if (types.includes('boolean')) return `\`true\`, \`false\`${or}`
  if (types.includes('integer') && key.enum) return key.enum.flatMap((one) => (one === null ? [] : `\`${one}\``)).join(', ')
  if (types.includes('integer')) return `whole number${or}`
  return 'text'
}

function rowOf({ path, variable, key }: NamedKey): string {
  const value = key.default === null ? '' : `\`${yaml(key.default)}\``
  return `| \`${path}\` | ${accepts(key)} | ${value} | \`${variable}\` | ${cell(key.description)} |`
}

/** docs/config.md */
export function configReference(): string {
  const parts = Object.entries(sectionsOf(ConfigSchema)).map(([name, schema]) => {
    const keys = isSection(schema)
      ? keysOf(schema, VARIABLE_PREFIX, `${name}.`)
      : keysOf(ConfigSchema, VARIABLE_PREFIX).filter((one) => one.path === name)
    const intro = isSection(schema) ? `\n${schema.description ?? ''}\n` : ''
    return `## ${name}\n${intro}\n| key | takes | default | variable | meaning |\n|---|---|---|---|---|\n${keys.map(rowOf).join('\n')}\n`
  })
  return `# Configuration

<!-- Generated from packages/server/src/config.ts by \`npm run generate\`: edit there. -->

Sovrabase reads \`config.yaml\` in the working directory, or the file that the variable \`CONFIG_PATH\` names. Neither the file nor any key is needed,
and the file may be read-only. Every key can be given as an environment variable too, which wins over the file; an empty variable counts as not given,
lists are separated by commas. A wrong value or an unknown key stops the start and names the file, line and column.

Durations are numbers with units (\`250ms\`, \`30s\`, \`5m\`, \`1h30m\`, \`14d\`), sizes too (\`64KiB\`, \`10MiB\`, \`2GiB\`). A relative path counts from the folder of
the file, or from the working directory when a variable or a default gives it. Editors complete and check the file with \`docs/config.schema.json\`.

**Secrets.** What is not given is made once in \`<data.dir>/keys\` (mode 0600): \`jwt.secret\` and \`root.key\`. The root key encrypts all stored secrets; it can
instead be given in \`SOVRABASE_ROOT_KEY\` or in the file that \`SOVRABASE_ROOT_KEY_FILE\` names (64 hexadecimal digits or base64). It is never made again where
there is data: **keep a copy of the folder \`keys\` apart from the backups of the data.** Several keys, one a line: the first seals, the others still open.

${parts.join('\n')}`
}

const sectionsOf = (schema: Schema): Readonly<Record<string, Schema>> => (isSection(schema) ? schema.properties : {})

const isOurs = (name: string): boolean => name === 'format' || /^[x~]/.test(name)

function plain(value: unknown): unknown {
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).flatMap(([name, inner]) => (isOurs(name) ? [] : [[name, plain(inner)]])))
}

/** JSON Schema without our own words; sections may be empty, as they are while all their keys are commented out. */
function editorSchema(schema: Schema): unknown {
  if (!isSection(schema)) return plain(schema)
  return {
    type: ['object', 'null'],
    description: schema.description,
    additionalProperties: false,
    properties: Object.fromEntries(Object.entries(schema.properties).map(([name, inner]) => [name, editorSchema(inner)])),
  }
}

/** docs/config.schema.json */
export const configSchema = (): string =>
  `${JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', title: 'config.yaml of Sovrabase', ...(editorSchema(ConfigSchema) as object) }, null, 2)}\n`

function comment(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + word.length > WIDTH) {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].map((one) => `${indent}# ${one}`)
}

function example(schema: Schema, indent: string): string[] {
  return Object.entries(sectionsOf(schema)).flatMap(([name, inner]) => {
    const about = comment(inner.description ?? '', indent)
    const space = indent === '' ? [''] : []
    if (isSection(inner)) return [...space, ...about, `${indent}${name}:`, ...example(inner, `${indent}  `)]
    const value = yaml((inner as unknown as Key).default)
    return [...space, ...about, `${indent}#${name}:${value === '' ? '' : ` ${value}`}`]
  })
}

/** config.example.yaml: every key with its default, commented out. */
export const configExample = (): string => `# yaml-language-server: $schema=./docs/config.schema.json
# Generated from packages/server/src/config.ts by \`npm run generate\`. Every key is shown with its default: take the # away before a key
# to change it. All keys are environment variables too: SOVRABASE_API_PORT, SOVRABASE_DATA_DIR … docs/config.md has the list.
${example(ConfigSchema, '').join('\n')}
`
