/** `sovra`: exit codes 0 done, 1 refused or failed, 2 used or configured wrongly, 3 already running, 4 not found, 5 not signed in, 6 no server. */
import { CommanderError } from 'commander'
import { type Group, makeProgram, type Spec } from './program/command.ts'
import { ownVersion } from './program/version.ts'
import { EXIT, known, LANGUAGE } from './terminal/errors.ts'
import { json, plain } from './terminal/output.ts'

const MORE = `Beside a running server no login is needed. A PROJECT is its ref, its name, or organisation/name.

Exit codes: 0 done · 1 refused or failed · 2 used or configured wrongly · 3 already running · 4 not found · 5 not signed in · 6 no server

Example:
  sovra projects create shop --wait && sovra db exec shop 'select now()'`

/** In the order of the help. */
const COMMANDS: Readonly<Record<string, () => Promise<Spec | Group>>> = {
  start: async () => (await import('./commands/start.ts')).start,
  stop: async () => (await import('./commands/stop.ts')).stop,
  status: async () => (await import('./commands/status.ts')).status,
  logs: async () => (await import('./commands/logs.ts')).logs,
  disk: async () => (await import('./commands/disk.ts')).disk,
  doctor: async () => (await import('./commands/doctor.ts')).doctor,
  login: async () => (await import('./commands/login.ts')).login,
  logout: async () => (await import('./commands/logout.ts')).logout,
  whoami: async () => (await import('./commands/whoami.ts')).whoami,
  servers: async () => (await import('./commands/servers.ts')).servers,
  admin: async () => (await import('./commands/admin.ts')).admin,
  orgs: async () => (await import('./commands/orgs.ts')).orgs,
  members: async () => (await import('./commands/members.ts')).members,
  projects: async () => (await import('./commands/projects.ts')).projects,
  keys: async () => (await import('./commands/keys.ts')).keys,
  db: async () => (await import('./commands/db.ts')).db,
  gen: async () => (await import('./commands/gen.ts')).gen,
  auth: async () => (await import('./commands/auth.ts')).auth,
  tokens: async () => (await import('./commands/tokens.ts')).tokens,
  passkeys: async () => (await import('./commands/passkeys.ts')).passkeys,
  upgrade: async () => (await import('./commands/upgrade.ts')).upgrade,
  backup: async () => (await import('./commands/backup.ts')).backup,
  restore: async () => (await import('./commands/restore.ts')).restore,
  recover: async () => (await import('./commands/recover.ts')).recover,
  metadata: async () => (await import('./commands/metadata.ts')).metadata,
}

/** The one that is called is loaded alone: all of them take twice as long as Node itself. Help, completion and wrong words need all. */
async function entriesFor(name = ''): Promise<(Spec | Group)[]> {
  if (name === '--version' || name === '-V') return []
  if (Object.hasOwn(COMMANDS, name)) return [await COMMANDS[name]!()]
  const all = await Promise.all(Object.values(COMMANDS).map((load) => load()))
  const { completion } = await import('./commands/completion.ts')
  return [...all, completion(() => program)]
}

const WORDS =
  LANGUAGE === 'fr'
    ? { error: 'erreur :', hint: 'conseil :', request: 'requête :' }
    : { error: 'error:', hint: 'hint:', request: 'request:' }

function report(error: unknown): void {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
    return
  }
  const { shown, exit, lines: more } = known(error)
  const lines = process.argv.includes('--json')
    ? [json(shown)]
    : [
        `${WORDS.error} ${shown.message.split('\n').map(plain).join('\n')}`,
        ...more.map(plain),
        ...(shown.hint ? shown.hint.split('\n').map((line) => `${WORDS.hint} ${plain(line)}`) : []),
        ...(shown.request_id ? [`${WORDS.request} ${plain(shown.request_id)}`] : []),
      ]
  process.stderr.write(`${lines.join('\n')}\n`)
  process.exitCode = exit
}

// `sovra … | head`: whoever reads has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed))

const program = makeProgram(ownVersion(), await entriesFor(process.argv[2]), MORE)
program.parseAsync().catch(report)
