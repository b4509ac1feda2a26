import type { TSchema } from 'typebox'
import type { Node, YAMLMap } from 'yaml'
import { fail, type SovraError } from './errors.ts'
import { type Formats, fromVariable, type Problem, type Read, readKey } from './key-values.ts'
import { isSection, type Key, keysOf, type NamedKey } from './keys.ts'
import { later } from './later.ts'
import { nearest } from './nearest.ts'

/** A problem and the place of it: 'config.yaml:3:9', or the name of a variable. */
export interface PlacedProblem extends Problem {
  readonly where: string
}

export interface ReadTree {
  /** Values of all keys, as a tree. */
  readonly values: Record<string, unknown>
  readonly problems: PlacedProblem[]
  readonly warnings: string[]
  /** Where a key was given; 'default' when it was not. */
  where(path: string): string
}

export interface TreeOptions {
  readonly schema: TSchema
  readonly file: { readonly name: string; readonly text: string; readonly folder: string } | null
  readonly env: NodeJS.ProcessEnv
  /** 'SOVRABASE_' */
  readonly prefix: string
  /** Folder that relative paths of variables and defaults count from. */
  readonly folder: string
  readonly formats: Formats
}

interface Found {
  readonly where: string
  readonly read: Read
}

const yaml = () => later<typeof import('yaml')>('yaml')
const MAX_SHOWN = 10
const NEAR = 2

/** One file being read: collects what it says and what is wrong with it. */
class FileReader {
  readonly found = new Map<string, Found>()
  readonly problems: PlacedProblem[] = []
  readonly #options: TreeOptions
  readonly #file: NonNullable<TreeOptions['file']>
  readonly #lines = new (yaml().LineCounter)()
  readonly #known: readonly string[]

  constructor(options: TreeOptions, file: NonNullable<TreeOptions['file']>, known: readonly NamedKey[]) {
    this.#options = options
    this.#file = file
    this.#known = known.map((one) => one.path)
  }

  read(): void {
    const document = yaml().parseDocument(this.#file.text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      strict: true,
      uniqueKeys: true,
    })
    for (const error of document.errors) {
      this.#report(error.pos[0], `is not valid YAML: ${error.message}`, 'Look at indentation, colons and quotes around that place.')
    }
    if (this.problems.length === 0) this.#section(document.contents, this.#options.schema, '')
  }

  #place(offset: number): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.#file.name}:${line}:${col}`
  }

  #report(offset: number, problem: string, remedy: string): void {
    this.problems.push({ where: this.#place(offset), problem, remedy })
  }

  #section(node: Node | null, schema: TSchema, above: string): void {
    const { isMap, isScalar } = yaml()
    if (node === null || (isScalar(node) && node.value === null)) return
    if (!isMap(node) || !isSection(schema)) {
      const name = above === '' ? 'the file' : above.slice(0, -1)
      this.#report(
        node.range?.[0] ?? 0,
        `${name} must hold keys with values`,
        'Write `key: value` lines, indented by two spaces below a section.',
      )
      return
    }
    for (const pair of (node as YAMLMap<Node, Node | null>).items) {
      const name = isScalar(pair.key) ? String(pair.key.value) : ''
      const at = pair.key.range?.[0] ?? 0
      const inner = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined
      if (inner === undefined) this.#unknown(at, above, name, Object.keys(schema.properties))
      else if (isSection(inner)) this.#section(pair.value, inner, `${above}${name}.`)
      else this.#key(pair.value, at, inner as unknown as Key, above + name)
    }
  }

  #key(node: Node | null, at: number, key: Key, path: string): void {
    // `key:` with nothing behind it, as when only its comment was removed: the default.
    const value = node === null ? null : (node.toJSON() as unknown)
    const nullable = Array.isArray(key.type) && key.type.includes('null')
    if (value === null && !nullable) return
    const offset = node?.range?.[0] ?? at
    const read = readKey(key, value, { formats: this.#options.formats, folder: this.#file.folder })
    this.found.set(path, { where: this.#place(offset), read })
    if ('problem' in read) this.#report(offset, `${path} ${read.problem}`, read.remedy)
  }

  #unknown(at: number, above: string, name: string, siblings: readonly string[]): void {
    const here = nearest(name, siblings)
    const elsewhere = here && here.distance <= NEAR ? undefined : this.#known.find((path) => path.split('.').at(-1) === name)
    const path = elsewhere ?? `${above}${here?.word ?? ''}`
    this.#report(at, `unknown key ${above}${name}`, `The nearest known key is ${path}; docs/config.md has them all.`)
  }
}

function readVariables(options: TreeOptions, keys: readonly NamedKey[], found: Map<string, Found>): PlacedProblem[] {
  const problems: PlacedProblem[] = []
  for (const { path, variable, key } of keys) {
    const given = options.env[variable]
    // An empty one is what `${VARIABLE:-}` of a compose file leaves.
    if (given === undefined || given === '') continue
    const read = readKey(key, fromVariable(key, given), { formats: options.formats, folder: options.folder })
    found.set(path, { where: variable, read })
    if ('problem' in read) problems.push({ where: variable, problem: `${path} ${read.problem}`, remedy: read.remedy })
  }
  return problems
}

function warnOfVariables(options: TreeOptions, keys: readonly NamedKey[]): string[] {
  const known = keys.map((one) => one.variable)
  return Object.keys(options.env)
    .filter((name) => name.startsWith(options.prefix) && !known.includes(name))
    .flatMap((name) => {
      const near = nearest(name, known)
      return near && near.distance <= NEAR ? [`The environment variable ${name} is not known; ${near.word} is.`] : []
    })
}

function plant(values: Record<string, unknown>, path: string, value: unknown): void {
  const names = path.split('.')
  const last = names.pop() as string
  let at = values
  for (const name of names) {
    at[name] ??= {}
    at = at[name] as Record<string, unknown>
  }
  at[last] = value
}

/** Variables before file before defaults; every problem is collected, none is thrown. */
export function readTree(options: TreeOptions): ReadTree {
  const keys = keysOf(options.schema, options.prefix)
  // An empty one, as where there is none and the server must not look for another, needs no reader.
  const file = options.file && options.file.text.trim() !== '' ? new FileReader(options, options.file, keys) : null
  file?.read()
  const found = file?.found ?? new Map<string, Found>()
  const problems = [...(file?.problems ?? []), ...readVariables(options, keys, found)]
  const values: Record<string, unknown> = {}
  for (const { path, key } of keys) {
    const read = found.get(path)?.read ?? readKey(key, key.default, { formats: options.formats, folder: options.folder })
    if ('value' in read) plant(values, path, read.value)
    else if (!found.has(path)) problems.push({ where: 'default', problem: `${path} ${read.problem}`, remedy: read.remedy })
  }
  return { values, problems, warnings: warnOfVariables(options, keys), where: (path) => found.get(path)?.where ?? 'default' }
}

/** One error for all problems, each with its place and what to do. */
export function configError(problems: readonly PlacedProblem[]): SovraError {
  const [first, ...others] = problems
  const lines = others.slice(0, MAX_SHOWN - 1).map((one) => `\n${one.where}: ${one.problem}. ${one.remedy}`)
  const own = others.length > 0 ? ` ${first?.remedy}` : ''
  const remedy = others.length > 0 ? `Correct these ${problems.length} places; docs/config.md describes every key.` : (first?.remedy ?? '')
  const problem = `${first?.problem}.${own}${lines.join('')}`
  return fail('config_invalid', { where: first?.where ?? '', problem, remedy }, { details: problems })
}
