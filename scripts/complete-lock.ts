/**
 * Some registry mirrors lack packages of other platforms; `npm install` then leaves them out of the lockfile, and `npm ci` refuses it everywhere
 * ("Missing: … from lock file"). This names them again, by what the packages that want them say; npm fetches none that does not fit the platform.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'

interface Entry {
  readonly dev?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const file = resolve(import.meta.dirname, '../package-lock.json')
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry & Record<string, unknown>> }
const SYSTEMS = ['darwin', 'win32', 'android', 'freebsd', 'openbsd', 'netbsd', 'sunos', 'aix', 'openharmony', 'linux']
const PROCESSORS: Readonly<Record<string, string>> = {
  loong64: 'loong64',
  riscv64: 'riscv64',
  s390x: 's390x',
  ppc64: 'ppc64',
  ia32: 'ia32',
  arm64: 'arm64',
  x64: 'x64',
  arm: 'arm',
}

/** What a package of this name runs on, as its maintainers name them. */
function platformOf(name: string): { os: string[]; cpu: string[] } {
  if (name.includes('wasm')) return { os: ['none'], cpu: ['wasm32'] }
  const os = SYSTEMS.find((system) => name.includes(system)) ?? 'none'
  const cpu = Object.keys(PROCESSORS).find((processor) => name.includes(processor)) ?? (name.includes('universal') ? 'x64' : 'none')
  return { os: [os], cpu: [cpu] }
}

let added = 0
for (const entry of Object.values({ ...lock.packages })) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key]) continue
    lock.packages[key] = {
      version: version.replace(/^[^\d]*/, ''),
      ...platformOf(name),
      ...(name.includes('musl') ? { libc: ['musl'] } : {}),
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
    }
    added++
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`${added} added`)
