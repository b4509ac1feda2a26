import { spawn } from 'node:child_process'
import { type Recovered, serverCommand } from '../api/local.ts'
import { command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { count } from '../terminal/output.ts'
import { confirm } from '../terminal/prompt.ts'

interface Options {
  readonly withoutRootKey?: boolean
  readonly continueOnError?: boolean
  readonly yes?: boolean
}

/** The server's own program does it, with its rights and under its lock. */
function run(more: readonly string[]): Promise<{ code: number; out: string }> {
  const { file, args, cwd, env } = serverCommand()
  const child = spawn(file, [...args, 'recover', ...more], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  return new Promise((done, reject) => {
    child.once('error', reject)
    child.once('close', (code) => done({ code: code ?? 1, out }))
  })
}

function says({ key_id, projects, settings, failed, snapshot, former }: Recovered): string {
  const lines = [
    `There is a new root key, ${key_id}. Put it in the safe: sovra keys export-root --to FILE`,
    `${count(projects.length, 'project')} with new API keys, signing keys and passwords; all rows are there. Show them: sovra projects show PROJECT --json`,
    'Gone: the former keys of the projects and all that they had signed, and:',
    ...settings.map(({ scope, section, secrets }) => `  settings ${section} of ${scope}: ${secrets.join(', ')}`),
    '  answers kept for an Idempotency-Key, an unused set-up link',
    ...(failed.length > 0 ? [`NOT RECOVERED, because their PostgreSQL did not start: ${failed.join(', ')}`] : []),
    `The metadata as it was: ${snapshot}`,
    ...(former ? [`The key that did not fit: ${former}`] : []),
    'Start the server.',
  ]
  return lines.join('\n')
}

export const recover = command<Options>({
  use: 'recover',
  says: 'when the root key is lost for good: new passwords and keys for each project; rows stay',
  examples: ['sovra recover --without-root-key'],
  flags: [
    ['--without-root-key', 'say that you know what it means'],
    ['--continue-on-error', 'leave out projects whose PostgreSQL does not start'],
    ['--yes', 'do not ask'],
  ],
  more: `The server must be stopped. First look for the key: in the safe (sovra keys export-root), in a backup (sovra restore), in SOVRABASE_ROOT_KEY.
Afterwards every application needs its new keys, users sign in again where their tokens have ended, and secrets in settings (SMTP, providers) must be entered again.`,
  async run(context, { withoutRootKey, continueOnError, yes = false }) {
    if (!withoutRootKey)
      throw stop('usage_wrong', { reason: 'Say --without-root-key', hint: 'It gives every project new keys and passwords.' })
    await confirm('All keys and passwords of all projects will be new. Type recover to go on: ', 'recover', yes)
    const { code, out } = await context.spin('Recovering', () => run(continueOnError ? ['--continue-on-error'] : []))
    if (code !== 0) return { data: { recovered: false }, text: '', exit: code }
    const done = JSON.parse(out.trim().split('\n').at(-1) ?? '{}') as Recovered
    return { data: done, text: says(done), exit: done.failed.length > 0 ? 1 : 0 }
  },
})
