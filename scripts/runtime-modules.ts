/** Prints, each ended by NUL, the paths below the checkout that running needs of node_modules: no package that only developers use. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = process.argv[2] ?? '.'
interface Entry {
  readonly dev?: boolean
  readonly link?: boolean
}
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Entry> }
const inModules = (path: string) => path.includes('node_modules/')
const wanted = Object.entries(packages).filter(([path, { dev, link }]) => inModules(path) && !dev && !link && existsSync(join(root, path)))
const links = Object.entries(packages).filter(([path, { link }]) => inModules(path) && link && existsSync(join(root, path)))
const known = new Set(wanted.map(([path]) => path))

/** Files of a package without the packages that lie in its own node_modules: those have entries of their own. */
function* filesOf(path: string): Generator<string> {
  for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
    const inner = `${path}/${entry.name}`
    if (entry.isDirectory()) {
      if (entry.name === 'node_modules') continue
      yield* filesOf(inner)
    } else if (!known.has(inner)) yield inner
  }
}
for (const [path] of wanted) for (const file of filesOf(path)) process.stdout.write(`${file}\0`)
for (const [path] of links) process.stdout.write(`${path}\0`)
