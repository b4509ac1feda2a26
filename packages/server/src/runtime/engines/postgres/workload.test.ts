import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { testService } from '../../service.testing.ts'
import { readMigrations } from './migrations.ts'
import { NOLOGIN_ROLES, PGRST_SETTINGS, REFUSED_ON_THE_WIRE } from './names.ts'
import { PostgresSpec, refusedSpec, SPEC_DEFAULTS } from './spec.ts'
import { PG_HBA, postgresConf, postgresWorkload } from './workload.ts'

const service = (spec: Partial<PostgresSpec> = {}) => testService('one', { volume: 'v', engine: 'postgres', driver: 'embedded', spec })

describe('the workload of a cluster', () => {
  it('is pure data without a secret, with its own configuration at each start', () => {
    const workload = postgresWorkload(service({ memory: 64, disk: 100 }), { template: 't' })
    assert.deepEqual(workload.command, ['postgres', '-D', '{volume}', '-k', '{runtime}'])
    assert.deepEqual(Object.keys(workload.files), ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf', 'postgresql.auto.conf'])
    assert.deepEqual(workload.limits, { memory: 64, disk: 100 })
    assert.deepEqual(workload, postgresWorkload(service({ memory: 64, disk: 100 }), { template: 't' }))
  })

  it('listens on its socket only, keeps fsync on, logs no value', () => {
    const conf = postgresConf({})
    for (const line of [
      "listen_addresses = ''",
      "fsync = 'on'",
      "log_min_messages = 'log'",
      "log_min_error_statement = 'panic'",
      "log_statement = 'none'",
      "timezone = 'UTC'",
    ])
      assert.ok(conf.includes(`${line}\n`), line)
    assert.ok(!conf.includes('shared_preload_libraries'))
    assert.ok(postgresConf({ extensions: ['pg_stat_statements', 'hstore'] }).includes("shared_preload_libraries = 'pg_stat_statements'\n"))
  })

  it('counts the connections of the wire protocol beside those of the server', () => {
    assert.match(postgresConf({ connections: 5 }), /max_connections = 57\n/)
  })

  it('refuses a spec that could not run', () => {
    const cases: [Partial<PostgresSpec>, RegExp | undefined][] = [
      [{}, undefined],
      [{ memory: 0, shared_buffers: 4096 }, undefined],
      [{ memory: 32 }, undefined],
      [{ memory: 8 }, /^memory: 32 at least/],
      [{ memory: 128, shared_buffers: 128 }, /^shared_buffers: with 128 of memory, 104 at most$/],
      [{ extensions: ['hstore', 'dblink'] }, /^the extension dblink is not one of/],
      [{ version: '18.1' }, undefined],
      [{ version: '19' }, /programs here are of PostgreSQL 18/],
    ]
    for (const [spec, reason] of cases) {
      const refused = refusedSpec(spec, '18.4.0')
      if (reason) assert.match(refused ?? '', reason)
      else assert.equal(refused, undefined, JSON.stringify(spec))
    }
  })

  it('lets nobody in without SCRAM', () => {
    for (const line of PG_HBA.trim().split('\n')) assert.match(line, /^local .* (scram-sha-256|reject)$/)
    for (const role of NOLOGIN_ROLES) assert.ok(REFUSED_ON_THE_WIRE.has(role))
  })

  it('has each default of the schema once', () => {
    const declared = Object.entries(PostgresSpec.properties).flatMap(([name, schema]) =>
      'default' in schema ? [[name, schema.default]] : [],
    )
    assert.deepEqual(Object.fromEntries(declared), SPEC_DEFAULTS)
  })

  it('grants the settings of PostgREST that names.ts lists', () => {
    const sql = readMigrations()
      .map((migration) => migration.sql)
      .join('\n')
    const granted = [...sql.matchAll(/'(pgrst\.\w+)'|on parameter (pgrst\.\w+)/g)].map((match) => match[1] ?? match[2])
    assert.deepEqual(granted, [...PGRST_SETTINGS])
  })
})
