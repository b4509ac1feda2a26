/** `sovra`: exit codes 0 done, 1 refused or failed, 2 used or configured wrongly, 3 already running, 4 not found, 5 not signed in, 6 no server. */
import { CommanderError } from 'commander'
import { admin } from './commands/admin.ts'
import { auth } from './commands/auth.ts'
import { backup } from './commands/backup.ts'
import { completion } from './commands/completion.ts'
import { db } from './commands/db.ts'
import { disk } from './commands/disk.ts'
import { doctor } from './commands/doctor.ts'
import { gen } from './commands/gen.ts'
import { keys } from './commands/keys.ts'
import { login } from './commands/login.ts'
import { logout } from './commands/logout.ts'
import { logs } from './commands/logs.ts'
import { members } from './commands/members.ts'
import { metadata } from './commands/metadata.ts'
import { orgs } from './commands/orgs.ts'
import { passkeys } from './commands/passkeys.ts'
import { projects } from './commands/projects.ts'
import { recover } from './commands/recover.ts'
import { restore } from './commands/restore.ts'
import { servers } from './commands/servers.ts'
import { start } from './commands/start.ts'
import { status } from './commands/status.ts'
import { stop } from './commands/stop.ts'
import { tokens } from './commands/tokens.ts'
import { upgrade } from './commands/upgrade.ts'
import { whoami } from './commands/whoami.ts'
import { makeProgram } from './program/command.ts'
import { ownVersion } from './program/version.ts'
import { EXIT, known, LANGUAGE } from './terminal/errors.ts'
import { json, plain } from './terminal/output.ts'

const MORE = `Beside a running server no login is needed. A PROJECT is its ref, its name, or organisation/name.

Exit codes: 0 done · 1 refused or failed · 2 used or configured wrongly · 3 already running · 4 not found · 5 not signed in · 6 no server

Example:
  sovra projects create shop --wait && sovra db exec shop 'select now()'`

const entries = [
  start,
  stop,
  status,
  logs,
  disk,
  doctor,
  login,
  logout,
  whoami,
  servers,
  admin,
  orgs,
  members,
  projects,
  keys,
  db,
  gen,
  auth,
  tokens,
  passkeys,
  upgrade,
  backup,
  restore,
  recover,
  metadata,
]

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

const program = makeProgram(ownVersion(), [...entries, completion(() => program)], MORE)
program.parseAsync().catch(report)
