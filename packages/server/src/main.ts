import { readFileSync } from 'node:fs'
import { isSovraError } from './base/errors.ts'
import { checkNode } from './base/node-version.ts'
import { loadConfig } from './config.ts'
import { exitCode, type KeeperOptions, needsKeeper, startKeeper } from './keeper.ts'
import { postgresProgram } from './programs.ts'

/** `sovra recover` starts this program so: it works with a server's rights and lock, and ends. */
const RECOVER = 'recover'

/** config → keeper (as root) → node → listen → drain on SIGTERM. */
async function main(): Promise<void> {
  checkNode()
  const loaded = loadConfig()
  const { config } = loaded
  const options: KeeperOptions = {
    dataDir: config.data.dir,
    configPath: loaded.path,
    programs: async (engines) => (await postgresProgram(config, engines)).programs,
  }
  if (needsKeeper()) process.exit(await startKeeper(options))
  if (process.argv[2] === RECOVER) {
    const { recover } = await import('./recover.ts')
    const done = await recover(loaded, options, { continueOnError: process.argv.includes('--continue-on-error') })
    process.stdout.write(`${JSON.stringify(done)}\n`)
    process.exit(0)
  }
  // Only the server loads HTTP and the like: the keeper stays small.
  const { serve } = await import('./serve.ts')
  await serve(loaded, options, versionOf())
}

const versionOf = (): string =>
  (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version

main().catch((error: unknown) => {
  const known = isSovraError(error) && error.code !== 'internal'
  process.stderr.write(
    known ? `sovrabase: ${error.message}\n${error.hint}\n` : `sovrabase: ${error instanceof Error ? error.stack : String(error)}\n`,
  )
  if (!known && error instanceof Error && error.cause !== undefined) process.stderr.write(`cause: ${String(error.cause)}\n`)
  process.exit(exitCode(error))
})
