import { readFileSync } from 'node:fs'
import { languageOf, wordingOf } from '@sovrabase/contract/wording'
import { importBeside } from './base/beside.ts'
import { isSovraError } from './base/errors.ts'
import { checkNode } from './base/node-version.ts'
import { checkPlatform } from './base/platform.ts'
import { startError } from './base/start-error.ts'
import { loadConfig } from './config.ts'
import { exitCode, type KeeperOptions, needsKeeper, startKeeper } from './keeper.ts'
import { postgresProgram } from './programs.ts'

/** `sovra recover` starts this program so: it works with a server's rights and lock, and ends. */
const RECOVER = 'recover'
/** `sovra metadata import`, likewise: what is imported comes by standard input. */
const IMPORT = 'metadata-import'
/** And so does `sovra backup verify --start`, on a directory of its own. */
const COUNT = 'count'

/** For the words about an error; known once the configuration is read. */
let dataDir = ''

/** config → keeper (as root) → node → listen → drain on SIGTERM. */
async function main(): Promise<void> {
  checkNode()
  // Under a keeper it has looked already.
  if (needsKeeper() || process.send === undefined) checkPlatform()
  const loaded = loadConfig()
  const { config } = loaded
  dataDir = config.data.dir
  const options: KeeperOptions = {
    dataDir: config.data.dir,
    configPath: loaded.path,
    programs: async (engines) => (await postgresProgram(config, engines)).programs,
  }
  if (needsKeeper()) {
    // The server below is given no name of a file that is not there: it could not say it.
    if (loaded.path === null && process.env.CONFIG_PATH) process.stderr.write(`sovrabase: ${loaded.warnings[0]}\n`)
    process.exit(await startKeeper(options))
  }
  if (process.argv[2] === RECOVER) {
    const { recover } = await import('./recover.ts')
    const done = await recover(loaded, options, { continueOnError: process.argv.includes('--continue-on-error') })
    process.stdout.write(`${JSON.stringify(done)}\n`)
    process.exit(0)
  }
  if (process.argv[2] === IMPORT) {
    const { importMetadata } = await import('./metadata-import.ts')
    process.stdout.write(`${JSON.stringify(await importMetadata(loaded, options))}\n`)
    process.exit(0)
  }
  if (process.argv[2] === COUNT) {
    const { countRows } = await import('./count.ts')
    process.stdout.write(`${JSON.stringify(await countRows(loaded, options))}\n`)
    process.exit(0)
  }
  // Only the server loads HTTP and the like: the keeper stays small.
  const { serve } = await importBeside(() => import('./serve.ts'))
  await serve(loaded, options, versionOf())
}

const versionOf = (): string =>
  (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version

main().catch((thrown: unknown) => {
  const error = startError(thrown, dataDir)
  const known = isSovraError(error) && error.code !== 'internal'
  if (known) {
    const { message, hint } = wordingOf(error.code, error.params, languageOf(process.env))
    process.stderr.write(`sovrabase: ${message}\n${hint}\ncode: ${error.code}\n`)
  } else process.stderr.write(`sovrabase: ${error instanceof Error ? error.stack : String(error)}\n`)
  if (!known && error instanceof Error && error.cause !== undefined) process.stderr.write(`cause: ${String(error.cause)}\n`)
  process.exit(exitCode(error))
})
