import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { until } from '../../../../test/until.ts'
import { isSovraError } from './errors.ts'
import { acquireLock, lockHolder } from './lock.ts'

const dirs: string[] = []
const children: ChildProcess[] = []
const fresh = () => {
  const dir = mkdtempSync(join(tmpdir(), 'lock-'))
  dirs.push(dir)
  return dir
}
after(() => {
  for (const child of children) child.kill('SIGKILL')
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
})

const HOLD = `
const { acquireLock } = await import(process.argv[1])
try {
  const lock = await acquireLock(process.argv[2])
  lock.announce('http://localhost:1/' + process.pid)
  process.send('held')
  setInterval(() => {}, 1e6)
} catch (error) {
  process.send(error.code + ' ' + error.message)
  process.disconnect()
}`

function holder(dir: string): { child: ChildProcess; said: Promise<string> } {
  const script = new URL('./lock.ts', import.meta.url).href
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLD, script, dir], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  children.push(child)
  return { child, said: new Promise((resolve) => child.once('message', (text) => resolve(String(text)))) }
}

test('a second start learns pid and URL of the first; after SIGKILL of the holder the lock is free', async () => {
  const dir = fresh()
  const first = holder(dir)
  assert.equal(await first.said, 'held')
  await assert.rejects(acquireLock(dir), (error) => {
    assert.ok(isSovraError(error, 'already_running'))
    assert.equal(error.message, `Already running: pid ${first.child.pid}, http://localhost:1/${first.child.pid}.`)
    return true
  })
  assert.deepEqual(await lockHolder(dir), { pid: first.child.pid, url: `http://localhost:1/${first.child.pid}` })
  first.child.kill('SIGKILL')
  await new Promise((resolve) => first.child.once('exit', resolve))
  assert.equal(await lockHolder(dir), null)
  const lock = await acquireLock(dir)
  lock.release()
  assert.equal(await lockHolder(dir), null)
})

test('of many that start at once exactly one gets it, and the others name it', async () => {
  const dir = fresh()
  const many = Array.from({ length: 5 }, () => holder(dir))
  const said = await Promise.all(many.map((one) => one.said))
  const winners = many.filter((_, index) => said[index] === 'held')
  assert.equal(winners.length, 1, said.join('\n'))
  for (const text of said.filter((one) => one !== 'held'))
    assert.match(text, new RegExp(`^already_running .*pid ${winners[0]!.child.pid},`))
})

test('asking who holds it does not disturb a start', async () => {
  const dir = fresh()
  const asking = Promise.all(Array.from({ length: 20 }, () => lockHolder(dir)))
  const lock = await acquireLock(dir)
  await asking
  assert.equal((await lockHolder(dir))?.pid, process.pid)
  lock.release()
  await until(async () => (await lockHolder(dir)) === null)
})
