import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { importBeside } from './beside.ts'

const root = mkdtempSync(join(tmpdir(), 'sovra-beside-'))
after(() => rmSync(root, { recursive: true, force: true }))

function write(path: string, text: string): string {
  const file = join(root, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, text)
  return pathToFileURL(file).href
}

test('files of every kind are found, and each is loaded once however it is reached', async () => {
  write('package.json', '{"type":"module"}')
  write('parts/package.json', '{"name":"parts","type":"module","exports":{"./*":"./src/*.ts"}}')
  write('parts/src/counted.ts', 'globalThis.loadedParts = ((globalThis.loadedParts as number) ?? 0) + 1\nexport const part = {}')
  write('parts/src/other.ts', "export { part } from './counted.ts'")
  mkdirSync(join(root, 'node_modules'))
  symlinkSync(join(root, 'parts'), join(root, 'node_modules/parts'))
  write('old/package.json', '{}')
  write('old/common.js', 'exports.old = require("node:path").sep')
  write('new.mjs', 'export const fresh = 1')
  const start = write(
    'start.ts',
    `import { part } from 'parts/counted'
import { part as same } from 'parts/other'
import { old } from './old/common.js'
import { fresh } from './new.mjs'
export const seen: object = { one: part === same, old, fresh }`,
  )
  const { seen } = (await importBeside(() => import(start))) as { seen: object }
  assert.deepEqual(seen, { one: true, old: '/', fresh: 1 })
  assert.equal((globalThis as { loadedParts?: number }).loadedParts, 1)
})

test('a file that is missing is named, and imports are then as ever', async () => {
  const start = write('lost.ts', "import './nowhere.ts'")
  await assert.rejects(
    importBeside(() => import(start)),
    /nowhere\.ts/,
  )
  await assert.rejects(import(`${start}?again`), { code: 'ERR_MODULE_NOT_FOUND' })
})
