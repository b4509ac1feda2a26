/** The server of this machine as a process beside the terminal. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Answer } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { holderHere, serverCommand } from './local.ts'

const EVERY = 50
const SECOND = 1000
/** s for a first start, which makes the template too. */
const START = 180
/** s to drain and to end every cluster. */
const STOP = 120

/** Resolves when it answers; with the server's own exit code when it has ended instead. */
export async function startInBackground(): Promise<Answer> {
  const { dir, holder } = await holderHere()
  if (holder) throw stop('already_running', { dir, ...holder })
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  mkdirSync(join(dir, 'log'), { recursive: true, mode: 0o700 })
  const log = join(dir, 'log', 'start.log')
  const output = openSync(log, 'w', 0o600)
  const { file, args, cwd, env } = serverCommand()
  // Its lines are in the files of the log; this one holds what a start prints.
  const child = spawn(file, args, { cwd, env: { SOVRABASE_LOG_STDOUT: 'off', ...env }, detached: true, stdio: ['ignore', output, output] })
  closeSync(output)
  child.unref()
  const end = Date.now() + START * SECOND
  while (Date.now() < end) {
    await pause(EVERY)
    if (child.exitCode !== null || child.signalCode !== null) {
      const text = readFileSync(log, 'utf8').trim()
      return { data: { running: false, output: text }, text, exit: child.exitCode ?? 1 }
    }
    const { holder: now } = await holderHere()
    if (!now || !URL.canParse(now.url)) continue
    const text = `${readFileSync(log, 'utf8')
      .trimEnd()
      .replace(/\nCtrl-C stops everything.*$/, '')}\nRuns as process ${now.pid}. Its log: sovra logs. Stop it: sovra stop`
    return { data: { running: true, pid: now.pid, url: now.url }, text }
  }
  throw stop('server_not_ready', { pid: child.pid ?? 0, seconds: START, log })
}

/** One that waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !/^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')))
  } catch {
    return false
  }
}

/** Resolves when it has ended and given the data directory back. */
export async function stopServer(): Promise<Answer> {
  const { dir, holder } = await holderHere()
  if (!holder || holder.pid === 0) throw stop('server_not_running', { dir })
  const { pid } = holder
  try {
    process.kill(pid, 'SIGTERM')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPERM') throw stop('data_closed', { dir })
    throw stop('server_not_running', { dir })
  }
  const end = Date.now() + STOP * SECOND
  while (Date.now() < end) {
    const { holder: now } = await holderHere()
    if ((!now || now.pid !== pid) && !runs(pid))
      return { data: { stopped: pid }, text: `Stopped process ${pid}. The data stays in ${dir}.` }
    await pause(EVERY)
  }
  throw stop('server_lingers', { pid, seconds: STOP })
}
