import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openWorkshop, testEngine, type Workshop } from '../cluster.testing.ts'

describe('the catalogue on disk', () => {
  let workshop: Workshop
  let folder: string
  before(async () => {
    workshop = await openWorkshop()
    folder = mkdtempSync(join(tmpdir(), 'sb-catalogues-'))
  })
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    await workshop?.close()
  })

  it('is what the first wake after a restart of the server has, unless the cluster was written since', async () => {
    const service = workshop.create()
    /** A server that knows nothing but its files. */
    const server = () => testEngine(workshop.tree.version, { catalogues: folder })
    const columns = (awake: Awaited<ReturnType<typeof service.wake>>) => [
      ...(awake.cluster.catalogue.current.schemas.get('public')?.tables.get('kept')?.columns.keys() ?? []),
    ]
    const run = async (sql: string) => {
      const awake = await service.wake({ engine: server() })
      const seen = { columns: columns(awake), read: awake.cluster.catalogue.xid !== undefined }
      if (sql !== '') {
        const owner = await awake.connect()
        await owner.query(sql)
        await owner.end()
      }
      await awake.sleep()
      return seen
    }
    assert.deepEqual(await run('create table public.kept (a int)'), { columns: [], read: true })
    assert.deepEqual(await run(''), { columns: ['a'], read: false }, 'from disk')
    assert.deepEqual(await run('alter table public.kept add column b int'), { columns: ['a'], read: false })
    assert.deepEqual(await run('insert into public.kept values (1)'), { columns: ['a', 'b'], read: false })
    assert.deepEqual(await run(''), { columns: ['a', 'b'], read: false })

    // Changed behind the server's back.
    const before = readFileSync(join(folder, `${service.service.id}.stamp`))
    await run('alter table public.kept add column c int')
    writeFileSync(join(folder, `${service.service.id}.stamp`), before)
    assert.deepEqual(await run(''), { columns: ['a', 'b', 'c'], read: true })

    writeFileSync(join(folder, `${service.service.id}.zst`), 'torn')
    assert.deepEqual(await run(''), { columns: ['a', 'b', 'c'], read: true })

    await server().forget(service.service.id)
    assert.deepEqual(readdirSync(folder), [])
  })
})
