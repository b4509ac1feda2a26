/** Holds the import rule of ARCHITECTURE.md: layers import downwards only, features never each other, no cycles. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '..')
const server = 'packages/server/src'

interface Import {
  readonly from: string
  readonly to: string
  readonly type: boolean
  /** Loaded when that line is reached. */
  readonly dynamic: boolean
}

const isSource = (file: string) => file.endsWith('.ts') && !/\.(test|testing|cases|contract)\.ts$/.test(file)

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => isSource(file) && !file.includes('node_modules'))
    .map((file) => join(folder, file))
}

/** Static and dynamic imports; a bare specifier of our own packages is resolved to its file. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
  const found: Import[] = []
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'";=(]*?\sfrom\s+)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/g
  for (const match of text.matchAll(pattern)) {
    const target = match[2] ?? match[3] ?? ''
    const [type, dynamic] = [match[1] !== undefined, match[3] !== undefined]
    const own = /^@sovrabase\/(\w+)\/(.+)$/.exec(target)
    if (target.startsWith('.')) found.push({ from: file, to: relative(root, resolve(root, dirname(file), target)), type, dynamic })
    else if (own) found.push({ from: file, to: `packages/${own[1]}/src/${own[2]}.ts`, type, dynamic })
  }
  return found
}

const packages = ['contract', 'server', 'cli'].map((name) => `packages/${name}/src`)
const all = packages.flatMap(sources).flatMap(importsOf)

/** Lowest first; a layer imports itself and what is below it. */
const LAYERS = ['base', 'metadata', 'runtime', 'realms', 'gateway', 'control|apis']

function layerOf(file: string): number {
  const folder = file.slice(server.length + 1).split('/')[0] ?? ''
  return LAYERS.findIndex((layer) => layer.split('|').includes(folder))
}

const broken = (rule: (imported: Import) => boolean) => all.filter(rule).map(({ from, to }) => `${from} → ${to}`)

test('server layers import downwards only', () => {
  const wrong = broken(({ from, to }) => {
    if (!from.startsWith(server) || !to.startsWith(server)) return false
    const [a, b] = [layerOf(from), layerOf(to)]
    const wiring = a === -1
    return !wiring && (b === -1 ? !/\/config\.ts$/.test(to) : b > a)
  })
  assert.deepEqual(wrong, [])
})

test('contract imports nothing of ours; cli reaches the server through local.ts only', () => {
  assert.deepEqual(
    broken(({ from, to }) => from.startsWith('packages/contract') && !to.startsWith('packages/contract')),
    [],
  )
  assert.deepEqual(
    broken(({ from, to }) => from.startsWith('packages/cli') && to.startsWith(server) && !from.endsWith('/local.ts')),
    [],
  )
  assert.deepEqual(
    broken(({ from, to }) => from.startsWith(server) && to.startsWith('packages/cli')),
    [],
  )
})

const part = (file: string, parent: string) =>
  file.startsWith(`${server}/${parent}/`) ? file.slice(server.length + parent.length + 2).split('/')[0] : undefined

test('no API imports another or control, no control folder an API; no engine an engine or a driver', () => {
  const wrong = broken(({ from, to }) => {
    for (const parent of ['apis', 'runtime/engines', 'runtime/drivers']) {
      const [a, b] = [part(from, parent), part(to, parent)]
      if (a && b && a !== b) return true
    }
    if (part(from, 'apis') && to.startsWith(`${server}/control/`)) return true
    if (from.startsWith(`${server}/control/`) && part(to, 'apis')) return true
    return Boolean(
      (part(from, 'runtime/engines') && part(to, 'runtime/drivers')) || (part(from, 'runtime/drivers') && part(to, 'runtime/engines')),
    )
  })
  assert.deepEqual(wrong, [])
})

test("a control folder calls another's store or verbs, never its routes", () => {
  const wrong = broken(({ from, to }) => {
    const [a, b] = [part(from, 'control'), part(to, 'control')]
    return a !== undefined && b !== undefined && a !== b && /routes\.ts$/.test(to) && from.split('/').length > 5
  })
  assert.deepEqual(wrong, [])
})

test('no import cycles of values', () => {
  const next = new Map<string, string[]>()
  for (const { from, to, type } of all) if (!type) next.set(from, [...(next.get(from) ?? []), to])
  const state = new Map<string, 'open' | 'done'>()
  const cycles: string[] = []
  const visit = (file: string, path: readonly string[]) => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      cycles.push([...path.slice(path.indexOf(file)), file].join(' → '))
      return
    }
    state.set(file, 'open')
    for (const to of next.get(file) ?? []) visit(to, [...path, file])
    state.set(file, 'done')
  }
  for (const file of next.keys()) visit(file, [])
  assert.deepEqual(cycles, [])
})

test('every relative import names a file that exists', () => {
  const known = new Set(packages.flatMap(sources))
  assert.deepEqual(
    broken(({ to }) => to.endsWith('.ts') && !known.has(to)),
    [],
  )
})

test('the command line starts without the library of schemas and without HTTP servers: each would take as long as all of its own', () => {
  const start = new Set<string>(['packages/cli/src/main.ts'])
  const heavy: string[] = []
  for (const file of start) {
    const text = readFileSync(join(root, file), 'utf8')
    for (const [, name] of text.matchAll(/^(?:import|export) (?!type )(?:[^'";=(]*? from )?'([^']+)'/gm))
      if (/^(typebox|node:https?)(\/|$)/.test(name ?? '')) heavy.push(`${file} → ${name}`)
    // The commands are loaded one by one, each by its name.
    for (const { to, type, dynamic } of importsOf(file)) if (!type && (!dynamic || /\/main\.ts$/.test(file))) start.add(to)
  }
  assert.ok(start.size > 50, String(start.size))
  assert.deepEqual(heavy, [])
})
