import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { prepareTree, trustedControl } from './extensions.ts'
import { foreignExtensions, shareCandidates } from './foreign-extensions.ts'

describe('the tree of extensions', () => {
  let dir: string
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sb-ext-'))
    await mkdir(join(dir, 'share/postgresql/extension'), { recursive: true })
    await mkdir(join(dir, 'lib/postgresql/pgxs'), { recursive: true })
    for (const name of ['hstore', 'dblink', 'vector', 'plperlu', 'mine']) {
      await writeFile(join(dir, `share/postgresql/extension/${name}.control`), `comment = 'x'\nsuperuser = true\n`)
      await writeFile(join(dir, `share/postgresql/extension/${name}--1.0.sql`), '')
      await writeFile(join(dir, `share/postgresql/extension/${name}--1.0--1.1.sql`), '')
      await writeFile(join(dir, `lib/postgresql/${name}.so`), '')
    }
    for (const name of ['pgoutput', 'utf8_and_win', 'dict_snowball', 'auto_explain', 'test_decoding'])
      await writeFile(join(dir, `lib/postgresql/${name}.so`), '')
  })
  after(() => rm(dir, { recursive: true, force: true }))

  it('marks a control file as trusted, once', () => {
    const once = trustedControl(`comment = 'x'\ntrusted = false\nsuperuser = true\nrelocatable = true\n`)
    assert.equal(once, `comment = 'x'\nrelocatable = true\ntrusted = true\n`)
    assert.equal(trustedControl(once), once)
  })

  it('is copied, allowed ones only, for a distribution from 18 on', async () => {
    const engines = join(dir, 'foreign')
    const { settings } = await foreignExtensions('18.6', join(dir, 'share/postgresql'), engines)
    const into = settings.extension_control_path ?? ''
    assert.deepEqual(
      (await readdir(join(into, 'extension'))).filter((file) => file.endsWith('.control')),
      ['hstore.control', 'vector.control'],
    )
    // The server finds what the keeper made; what the distribution adds later is another directory.
    assert.deepEqual(await foreignExtensions('18.6', join(dir, 'share/postgresql'), engines), { settings })
    await writeFile(join(dir, 'share/postgresql/extension/citext.control'), '')
    assert.notDeepEqual(await foreignExtensions('18.6', join(dir, 'share/postgresql'), engines), { settings })
    await rm(join(dir, 'share/postgresql/extension/citext.control'))
    await assert.rejects(foreignExtensions('17.5', join(dir, 'share/postgresql'), engines), { code: 'engine_version_unsupported' })
    assert.equal(shareCandidates('/usr/lib/postgresql/18/bin')[0], '/usr/share/postgresql/18')
  })

  it('keeps the allowed and what the server itself needs', async () => {
    for (let times = 0; times < 2; times++) await prepareTree(dir)
    assert.deepEqual(
      (await readdir(join(dir, 'share/postgresql/extension'))).filter((file) => file.endsWith('.control')),
      ['hstore.control', 'vector.control'],
    )
    assert.match(await readFile(join(dir, 'share/postgresql/extension/hstore.control'), 'utf8'), /trusted = true/)
    assert.deepEqual((await readdir(join(dir, 'lib/postgresql'))).toSorted(), [
      'dict_snowball.so',
      'hstore.so',
      'pgoutput.so',
      'utf8_and_win.so',
      'vector.so',
    ])
  })
})
