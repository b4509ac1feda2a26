/**
 * Writes what is made from the sources: docs/config.md, docs/config.schema.json, docs/errors.md, docs/auth-settings.md, config.example.yaml.
 * `--check`: writes nothing and fails when a file is not as it would be written. `--into FOLDER`: another place than the repository.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { authSettingsReference } from './generate/auth-settings.ts'
import { configExample, configReference, configSchema } from './generate/config.ts'
import { errorReference } from './generate/errors.ts'

const FILES: Readonly<Record<string, () => string>> = {
  'docs/config.md': configReference,
  'docs/config.schema.json': configSchema,
  'docs/errors.md': errorReference,
  'docs/auth-settings.md': authSettingsReference,
  'config.example.yaml': configExample,
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function main(args: readonly string[]): number {
  const into = args.indexOf('--into')
  const root = resolve(into >= 0 ? (args[into + 1] ?? '.') : join(import.meta.dirname, '..'))
  const stale = Object.entries(FILES).filter(([name, make]) => read(join(root, name)) !== make())
  if (args.includes('--check')) {
    for (const [name] of stale) console.error(`${name} is stale: run \`npm run generate\` and commit it`)
    return stale.length > 0 ? 1 : 0
  }
  for (const [name, make] of stale) {
    const file = join(root, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, make())
    console.log(`wrote ${name}`)
  }
  return 0
}

process.exitCode = main(process.argv.slice(2))
