/** Backups that somebody made by hand, knowing their key: refused by name, nothing outside or in the target is touched. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { type Forged, forgeBackup, REF } from './base/archive/forge.testing.ts'
import { METADATA, serviceMember } from './base/archive/format.ts'
import { openBackup, restoreInstallation, unpackVolumes } from './restore.ts'

const parent = mkdtempSync(join(tmpdir(), 'sovra-forged-'))
after(() => rmSync(parent, { recursive: true, force: true }))
const file = join(parent, 'forged.tar')
const dataDir = join(parent, 'data')

function tarOf(make: (dir: string) => void): Buffer {
  const dir = mkdtempSync(join(parent, 'made-'))
  make(dir)
  return execFileSync('tar', ['-C', dir, '-cf', '-', '.'])
}
const plain = tarOf((dir) => writeFileSync(join(dir, 'PG_VERSION'), '18\n'))
const DATA = serviceMember(REF, 'db')

async function restored(tar: Buffer, change?: (forged: Forged) => void) {
  const identity = await forgeBackup(file, tar, change)
  const archive = await openBackup(file)
  return await restoreInstallation({ archive, key: { identities: [identity] }, dataDir })
}

async function refused(code: string, change: (forged: Forged) => void, tar = plain): Promise<void> {
  await assert.rejects(restored(tar, change), { code }, change.toString())
  assert.deepEqual(
    readdirSync(parent).filter((name) => !name.startsWith('made-')),
    ['forged.tar'],
    change.toString(),
  )
}

test('as the server makes them they are restored, with modes of our own', async () => {
  await restored(tarOf((dir) => writeFileSync(join(dir, 'PG_VERSION'), '18\n') ?? execFileSync('chmod', ['7777', dir])))
  assert.equal(readFileSync(join(dataDir, 'projects/volume/PG_VERSION'), 'utf8'), '18\n')
  assert.equal(statSync(join(dataDir, 'projects/volume')).mode & 0o7777, 0o700)
  rmSync(dataDir, { recursive: true })
})

test('lists and headers that are none', async () => {
  for (const header of [null, [], 'text', { format: 'sovrabase-backup' }]) {
    const code = header !== null && typeof header === 'object' && 'format' in header ? 'backup_damaged' : /./
    await assert.rejects(
      restored(plain, (forged) => (forged.header = header)),
      (error: { code?: string }) => (code instanceof RegExp ? /^backup_(damaged|foreign)$/.test(error.code ?? '') : error.code === code),
    )
  }
  await refused('backup_newer', ({ header }) => Object.assign(header, { version: 99, scope: 'another' }))
  await refused('backup_damaged', ({ header }) => Object.assign(header, { version: '1' }))
  await refused('backup_damaged', ({ header }) => Object.assign(header, { created_at: '\u001b[31m' }))
  for (const projects of [null, {}, [null], [{}], 7]) await refused('backup_damaged', (forged) => (forged.projects = projects))
  await refused('backup_damaged', ({ projects }) => Object.assign(projects[0], { ref: '../../outside' }))
  await refused('backup_damaged', ({ projects }) => projects.push(projects[0]))
  await refused('backup_damaged', (forged) => (forged.installation = undefined))
  await refused('backup_damaged', (forged) => (forged.installation = {}))
  await refused('backup_damaged', ({ members }) => members.delete(METADATA))
  await refused('backup_damaged', ({ members, record }) => {
    members.delete(DATA)
    record.services[0].sha256 = '0'.repeat(64)
  })
})

test('records that name other places', async () => {
  for (const volume of ['..', '../../outside', '/tmp', '.hidden', 'n'.repeat(10_000)])
    await refused('backup_damaged', ({ record }) => Object.assign(record.services[0], { volume }))
  await refused('backup_damaged', ({ record }) => Object.assign(record.services[0], { name: '../db' }))
  await refused('backup_damaged', ({ record }) => record.services.push(record.services[0]))
  await refused('backup_damaged', ({ record }) => Object.assign(record, { services: null }))
})

test('contents that are not what the list says', async () => {
  await refused('backup_damaged', ({ members }) => members.set(DATA, Buffer.from('no zstd')))
  await refused('backup_damaged', ({ members }) => members.set(METADATA, Buffer.from('no zstd')))
  // 64 MiB in a few KiB.
  await refused('backup_damaged', ({ members }) => members.set(DATA, zstdCompressSync(Buffer.concat([plain, Buffer.alloc(64 << 20)]))))
  await refused('restore_no_room', ({ projects }) => Object.assign(projects[0].services[0], { bytes: Number.MAX_SAFE_INTEGER }))
  const outside = join(parent, 'made-outside')
  mkdirSync(outside)
  await refused(
    'volume_foreign',
    () => {},
    tarOf((dir) => symlinkSync(outside, join(dir, 'pg_wal'))),
  )
  assert.ok(!existsSync(dataDir))
})

test('one of projects alone, and what is no file', async () => {
  const identity = await forgeBackup(file, plain, (forged) => {
    forged.header.scope = 'projects'
    forged.installation = undefined
    forged.members.delete(METADATA)
  })
  const archive = await openBackup(file)
  const dir = join(parent, 'made-volumes')
  const volumes = await unpackVolumes(archive, await archive.unlock({ identities: [identity] }), dir)
  assert.deepEqual(volumes, [{ volume: 'volume', project: 'acme/one', service: 'db' }])
  await assert.rejects(openBackup(parent), { code: 'backup_unreadable' })
  await assert.rejects(openBackup(join(parent, 'nowhere')), { code: 'backup_unreadable' })
})
