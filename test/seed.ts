/**
 * What every first start would make anew, made once for a run of many files: the private copy of PostgreSQL, the template of clusters and
 * the compiled sources. Half of the CPU of a test's server was spent on it. A data directory begun with it is otherwise empty.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ownAccounts } from '../packages/server/src/runtime/drivers/embedded/accounts.ts'

/** Names the directory for the files of a run (scripts/test.ts). */
export const SEED = 'SOVRABASE_TEST_SEED'

export const COMPILED = join('cache', 'compile')
/** What fresh clusters sign in with: part of the template's name. */
export const TEMPLATE_KEY = join('keys', 'template.key')
/** Taken over by hard link: nobody writes into them once they are whole. */
export const LINKED: readonly string[] = ['engines', 'templates']

/** The uid that the server of this data directory will have: it is in the name of its compile cache. */
function serverUid(dataDir: string): number | undefined {
  const accounts = ownAccounts(dataDir)
  return accounts === 'nested' ? undefined : (accounts.server ?? process.geteuid?.())
}

function fill(dataDir: string, seed: string): void {
  const missing = (name: string) => !existsSync(join(dataDir, name))
  for (const name of LINKED.filter(missing)) execFileSync('cp', ['-al', join(seed, name), dataDir])
  if (missing(TEMPLATE_KEY)) {
    mkdirSync(dirname(join(dataDir, TEMPLATE_KEY)), { recursive: true, mode: 0o700 })
    cpSync(join(seed, TEMPLATE_KEY), join(dataDir, TEMPLATE_KEY))
  }
  const [uid, compiled] = [serverUid(dataDir), join(seed, COMPILED)]
  if (uid === undefined || !existsSync(compiled)) return
  mkdirSync(join(dataDir, COMPILED), { recursive: true })
  for (const name of readdirSync(compiled)) {
    const link = join(COMPILED, name.replace(/\d+$/, String(uid)))
    if (missing(link)) symlinkSync(join(compiled, name), join(dataDir, link))
  }
}

/** Where a test's server keeps its data: what is slow to make, and is missing, is put there when many files run; nothing when few do. */
export function newDataDir(dataDir: string = mkdtempSync(join(tmpdir(), 'sovra-test-'))): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const seed = process.env[SEED]
  if (seed) fill(realpathSync(dataDir), seed)
  return dataDir
}
