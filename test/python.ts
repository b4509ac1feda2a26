/** Python with packages of PyPI, kept under .cache: made at the first use. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const CACHE = resolve(import.meta.dirname, '../.cache/python')
const run = promisify(execFile)

/** The folder of packages to put on PYTHONPATH; `requirement`: `name==version`. */
export async function pythonWith(requirement: string): Promise<string> {
  const folder = join(CACHE, requirement.replace(/[^\w.-]+/g, '-'))
  const packages = join(folder, 'packages')
  if (!existsSync(packages)) {
    mkdirSync(folder, { recursive: true })
    const made = mkdtempSync(join(folder, 'new-'))
    await run('python3', [
      '-m',
      'pip',
      'install',
      '-q',
      '--disable-pip-version-check',
      '--no-warn-script-location',
      '--target',
      made,
      requirement,
    ])
    try {
      renameSync(made, packages)
    } catch {
      // Another process was quicker: its packages are the same.
      rmSync(made, { recursive: true, force: true })
    }
  }
  return packages
}

/** Runs a program and answers what it prints. `packages`: from `pythonWith`. */
export async function python(packages: string, program: string, env: Record<string, string>): Promise<string> {
  const { stdout } = await run('python3', ['-c', program], { env: { ...process.env, PYTHONPATH: packages, ...env } })
  return stdout
}
