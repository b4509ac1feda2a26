import { readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { type ReadTree, readTree, type TreeOptions } from './config-file.ts'
import { fail } from './errors.ts'

export interface SourceOptions extends Pick<TreeOptions, 'schema' | 'prefix' | 'formats'> {
  readonly path?: string
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

const DEFAULT_FILE = 'config.yaml'
const BYTE_ORDER_MARK = '\uFEFF'

/** What a person should read for an errno. */
const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EISDIR: 'it is a folder (Docker makes one when the file to mount is not there)',
  ENOTDIR: 'a part of its path is no folder',
}

function readText(file: string, name: string): string | null {
  try {
    const text = readFileSync(file, 'utf8')
    return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    if (code === 'ENOENT') return null
    throw fail('config_unreadable', { file: name, reason: REASONS[code] ?? code }, { cause })
  }
}

/** The file's name as messages show it: relative where it lies below the working directory. */
function shortName(file: string, cwd: string): string {
  const short = relative(cwd, file)
  return short === '' || short.startsWith('..') ? file : short
}

/** Finds and reads the file (`CONFIG_PATH`, else config.yaml); none at all is fine. Throws `config_unreadable`. */
export function readConfigTree(options: SourceOptions): { readonly path: string | null; readonly tree: ReadTree } {
  const { schema, prefix, formats, env = process.env, cwd = process.cwd() } = options
  const named = options.path ?? (env.CONFIG_PATH || undefined)
  const file = resolve(cwd, named ?? DEFAULT_FILE)
  const name = shortName(file, cwd)
  const text = readText(file, name)
  const tree = readTree({ schema, prefix, formats, env, folder: cwd, file: text === null ? null : { name, text, folder: dirname(file) } })
  if (text === null && named !== undefined) tree.warnings.unshift(`There is no ${name}: defaults and environment variables are used.`)
  return { path: text === null ? null : file, tree }
}
