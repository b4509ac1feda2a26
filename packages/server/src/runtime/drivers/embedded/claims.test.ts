import assert from 'node:assert/strict'
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { claimSlot } from './claims.ts'

const root = mkdtempSync(join(tmpdir(), 'sovra-claims-'))
const at = join(root, 'uids')
const SLOTS = { first: 20_000, width: 1_000, count: 3 }
after(() => rmSync(root, { recursive: true, force: true }))

const skip = process.geteuid?.() === 0 ? false : 'needs root'
const directory = (name: string): string => {
  const dir = join(root, name)
  mkdirSync(dir)
  return dir
}
const take = (dir: string): number => {
  const slot = claimSlot(dir, SLOTS, at)
  // As the keeper does it next.
  chownSync(dir, 0, SLOTS.first + slot * SLOTS.width)
  return slot
}

test('uids: each data directory has its own, keeps it, and gives it back when it is gone', { skip }, () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(directory) as [string, string, string, string]
  const [first, second, third] = [take(a), take(b), take(c)]
  assert.deepEqual([first, second, third].sort(), [0, 1, 2])
  assert.equal(take(b), second)
  assert.throws(() => claimSlot(d, SLOTS, at), { code: 'uids_taken' })
  rmSync(b, { recursive: true })
  assert.equal(take(d), second)
  assert.deepEqual(readdirSync(at).sort(), ['20000', '21000', '22000'])
})

test('uids: after a boot a directory finds its own again, a copy of it gets others', { skip }, () => {
  rmSync(root, { recursive: true })
  mkdirSync(root)
  const original = directory('original')
  chownSync(original, 0, 22_000)
  assert.equal(take(original), 2)
  const copy = directory('copy')
  chownSync(copy, 0, 22_000)
  assert.notEqual(take(copy), 2)
  assert.equal(take(original), 2)
})
