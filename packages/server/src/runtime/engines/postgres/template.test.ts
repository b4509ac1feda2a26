import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openWorkshop, type Workshop } from './cluster.testing.ts'

/** What of a cluster a host's locale or time zone could change. */
const FACTS = `select json_build_object(
  'settings', (select json_object_agg(name, setting order by name) from pg_settings
    where name in ('TimeZone', 'log_timezone', 'DateStyle', 'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time', 'server_encoding',
      'default_text_search_config', 'wal_segment_size', 'data_checksums', 'shared_buffers', 'fsync', 'io_method')),
  'databases', (select json_agg(json_build_array(datname, pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, datlocale, datcollversion) order by datname) from pg_database),
  'collations', (select json_agg(collname order by collname, collencoding) from pg_collation),
  'roles', (select json_agg(rolname order by rolname) from pg_roles),
  'relations', (select json_agg(oid::regclass order by oid::regclass::text) from pg_class where relnamespace::regnamespace::text in ('auth', 'storage', 'realtime', 'extensions', 'sovrabase'))
) as facts`

describe('the template', () => {
  let workshop: Workshop
  before(async () => {
    workshop = await openWorkshop()
  })
  after(() => workshop.close())

  const facts = async (environment: Record<string, string>) => {
    const built = await workshop.build(workshop.engine, environment)
    const copy = workshop.create()
    cpSync(built, join(workshop.directory, copy.service.volume), { recursive: true })
    const awake = await copy.wake()
    const seen = await awake.cluster.admin(async (client) => (await client.query<{ facts: unknown }>(FACTS)).rows[0]?.facts)
    await awake.sleep()
    return seen as { settings: Record<string, string>; databases: string[][]; collations: string[] }
  }

  it('is the same on every host: UTC, UTF8, no collation of the C library', async () => {
    const plain = await facts({})
    const foreign = await facts({ LANG: '', TZ: 'America/Lima', PGTZ: 'Asia/Tokyo', PGDATESTYLE: 'german' })
    assert.deepEqual(foreign, plain)
    assert.equal(plain.settings.TimeZone, 'UTC')
    assert.equal(plain.settings.log_timezone, 'UTC')
    assert.equal(plain.settings.wal_segment_size, String(1024 * 1024))
    for (const database of plain.databases) assert.deepEqual(database.slice(1, 6), ['UTF8', 'b', 'C', 'C', 'C.UTF-8'])
    assert.ok(plain.collations.includes('fr-x-icu'))
    assert.ok(!plain.collations.some((name) => /^[a-z]{2}_[A-Z]{2}/.test(name)))
  })
})
