import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { promisify } from 'node:util'
import { openSet } from './tree.ts'

const run = promisify(execFile)

/** A process of its own, as the starts of two servers are. */
const open = (engines: string) =>
  run(process.execPath, [
    '--input-type=module',
    '--eval',
    `const { openTree } = await import(process.argv[1]); console.log((await openTree({ engines: process.argv[2] })).dir)`,
    new URL('./tree.ts', import.meta.url).href,
    engines,
  ])

it('made by several processes at once it is whole, and what a killed one left is swept away', async (t) => {
  const engines = mkdtempSync(join(tmpdir(), 'sovra-tree-'))
  t.after(() => rmSync(engines, { recursive: true, force: true }))
  // No pid is as large as that.
  mkdirSync(join(engines, 'postgres-1.new-99999999'))
  const made = await Promise.all([open(engines), open(engines), open(engines)])
  const dirs = new Set(made.map(({ stdout }) => stdout.trim()))
  assert.equal(dirs.size, 1)
  assert.deepEqual(
    readdirSync(engines).map((name) => join(engines, name)),
    [...dirs],
  )
})

it('whole sets of several majors that are asked for at once are all whole', async (t) => {
  const engines = mkdtempSync(join(tmpdir(), 'sovra-tree-'))
  t.after(() => rmSync(engines, { recursive: true, force: true }))
  const sets = ['1', '2'].map((version) => {
    const dir = join(engines, 'from', version)
    mkdirSync(join(dir, 'bin'), { recursive: true })
    for (let n = 0; n < 50; n++) writeFileSync(join(dir, 'bin', `program-${n}`), version)
    return { dir, version }
  })
  const made = await Promise.all([...sets, ...sets].map(({ dir, version }) => openSet(dir, version, { engines: join(engines, 'to') })))
  assert.equal(new Set(made).size, 2)
  for (const bin of made) assert.equal(readdirSync(bin).length, 50)
})
