import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { isComplete } from '@sovrabase/contract/statements'
import type { Connection } from '../api/find.ts'
import { EXIT, known } from '../terminal/errors.ts'
import { plain } from '../terminal/output.ts'
import { connect, render, run } from './sql.ts'

export const hasPsql = (): boolean => spawnSync('psql', ['--version'], { stdio: 'ignore' }).status === 0

/** psql on the project; the password goes by its environment, since arguments are seen by everybody on the machine. */
export function psql({ host, port, user, password, database }: Connection): Promise<number> {
  const args = [`--host=${host}`, `--port=${port}`, `--username=${user}`, `--dbname=${database}`]
  const child = spawn('psql', args, { stdio: 'inherit', env: { ...process.env, PGPASSWORD: password, PGAPPNAME: 'sovra' } })
  // Ctrl-C is for the statement that runs in psql.
  process.on('SIGINT', () => {})
  return new Promise((done) => child.on('exit', (code) => done(code ?? EXIT.failed)))
}

const write = (text: string) => process.stdout.write(`${text}\n`)

function complain(error: unknown): void {
  const { shown, lines } = known(error)
  for (const line of [`error: ${shown.message}`, ...lines, ...(shown.hint ? [`hint: ${shown.hint}`] : [])])
    write(line.split('\n').map(plain).join('\n'))
}

/** A small one of our own: statements end with `;`, Ctrl-D ends it. */
export async function repl(at: Connection): Promise<number> {
  const client = await connect(at, write)
  let lost = false
  client.on('end', () => {
    lost = true
  })
  const interactive = process.stdin.isTTY === true
  const lines = createInterface({ input: process.stdin, output: interactive ? process.stdout : undefined, prompt: '' })
  let failed = false
  let sql = ''
  const prompt = () => {
    lines.setPrompt(sql === '' ? `${at.database}=> ` : `${at.database}-> `)
    if (interactive) lines.prompt()
  }
  if (interactive) write('psql is not installed, so this is a small shell: end statements with ; and leave with \\q or Ctrl-D.')
  prompt()
  for await (const line of lines) {
    if (sql === '' && /^\s*(\\q|quit|exit)\s*;?\s*$/.test(line)) break
    sql += sql === '' ? line : `\n${line}`
    if (isComplete(sql)) {
      const text = sql
      sql = ''
      try {
        for (const result of await run(client, text)) write(render(result))
      } catch (error) {
        failed = true
        complain(error)
        if (lost) break
      }
    } else if (sql.trim() === '') sql = ''
    prompt()
  }
  lines.close()
  await client.end()
  return failed && !interactive ? EXIT.failed : EXIT.ok
}
