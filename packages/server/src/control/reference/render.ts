import { escapeHtml } from '../setup/html.ts'

interface Schema {
  readonly type?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly format?: string
  readonly default?: unknown
}

interface Operation {
  readonly summary?: string
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly schema?: Schema
    readonly description?: string
  }[]
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> }
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>
}

export interface Document {
  readonly info: { readonly title: string; readonly version: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

function typeOf(schema: Schema | undefined): string {
  if (!schema) return ''
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ')
  if (schema.items) return `${typeOf(schema.items)}[]`
  return schema.format ?? schema.type ?? 'any'
}

const row = (name: string, type: string, required: boolean, text = ''): string =>
  `<li><code>${escapeHtml(name)}</code> <em>${escapeHtml(type)}</em>${required ? ' · required' : ''}${text === '' ? '' : `: ${escapeHtml(text)}`}</li>`

function body(schema: Schema | undefined): string {
  const rows = Object.entries(schema?.properties ?? {}).map(([name, property]) =>
    row(name, typeOf(property), schema?.required?.includes(name) ?? false, property.description),
  )
  return rows.length === 0 ? '' : `<p>Body</p><ul>${rows.join('')}</ul>`
}

function operation(path: string, method: string, op: Operation): string {
  const parameters = (op.parameters ?? []).map((p) => row(`${p.name} (${p.in})`, typeOf(p.schema), p.required ?? false, p.description))
  const json = op.requestBody?.content?.['application/json']?.schema
  const statuses = Object.keys(op.responses ?? {}).join(', ')
  return `<section><h3><code>${method.toUpperCase()} ${escapeHtml(path)}</code></h3>${op.summary ? `<p>${escapeHtml(op.summary)}</p>` : ''}${
    parameters.length > 0 ? `<ul>${parameters.join('')}</ul>` : ''
  }${body(json)}${statuses ? `<p>Answers ${escapeHtml(statuses)}</p>` : ''}</section>`
}

/** A readable reference: every operation with what it takes. */
export function renderReference(document: Document): string {
  const operations = Object.entries(document.paths)
    .sort(([a], [b]) => a.localeCompare(b))
    .flatMap(([path, methods]) => Object.entries(methods).map(([method, op]) => operation(path, method, op)))
  return `<h1>${escapeHtml(document.info.title)}</h1><p>Version ${escapeHtml(document.info.version)} · <a href="/v1/openapi.json">OpenAPI 3.1</a></p>${operations.join('')}`
}
