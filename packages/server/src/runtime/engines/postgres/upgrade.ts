import type pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { RefitProgram } from '../../driver.ts'
import type { EngineUpgrade, UpgradeStep } from '../../engine.ts'
import { majorOf } from './majors.ts'
import type { Migration } from './migrations.ts'
import { ADMIN, OWNER } from './names.ts'
import { prepareCluster } from './prepare.ts'
import { makeSignIns } from './sign-ins.ts'
import type { PostgresSpec } from './spec.ts'
import { DROP_HOST_COLLATIONS, dropTemplate0, ENVIRONMENT, INIT } from './template.ts'

export interface UpgradeOptions {
  /** "18.4" */
  readonly version: string
  /** Majors with the tools of pg_upgrade. */
  readonly sets: readonly number[]
  readonly bootstrap: string
  readonly migrations: readonly Migration[]
}

/** Our superuser alone, in directories that only the driver enters; pg_upgrade looks into every database. */
const HBA = 'upgrade_hba.conf'
const HBA_TEXT = `local all ${ADMIN} trust\nlocal all all reject\n`
/** pg_upgrade wants the one that our template drops: anew from template1, which nobody can enter and which is as pristine. */
const MAKE_TEMPLATE0 = 'create database template0 template template1 is_template true allow_connections false;\n'

const program = (command: readonly string[], input?: string): RefitProgram => ({
  command,
  environment: ENVIRONMENT,
  ...(input === undefined ? {} : { input }),
})

/** Statements in a cluster that nobody else reaches: no socket, no sign-in. After a crash it first replays its log. */
const alone = (major: number, directory: string, database: string, input: string): RefitProgram =>
  program([`postgres-${major}`, '--single', '-j', '-D', directory, '-c', 'shared_preload_libraries=', database], input)

/**
 * Paths are relative to the volume that is worked on. `--link`, because `old` is a copy that was made for this: nothing is written twice, and the volume
 * that it is a copy of is never opened. Checksums are what they are in a new project: on, whatever the former major's default was.
 */
const stepsOf = (from: number, to: number): readonly UpgradeStep[] => [
  { name: 'prepare', program: alone(from, 'old', 'template1', MAKE_TEMPLATE0) },
  {
    name: 'checksums',
    program: program([`pg_checksums-${from}`, '--enable', '--no-sync', '-D', 'old']),
    unless: { program: program([`pg_controldata-${from}`, '-D', 'old']), says: /^Data page checksum version:\s+[1-9]/m },
  },
  {
    name: 'initialise',
    program: program([`initdb-${to}`, ...INIT.slice(1).map((arg) => (arg === '{volume}' ? 'new' : arg)), '--no-sync']),
  },
  { name: 'initialise', program: alone(to, 'new', 'template0', `${DROP_HOST_COLLATIONS};\n`) },
  {
    name: 'upgrade',
    program: program([
      `pg_upgrade-${to}`,
      `--old-bindir={bin:pg_controldata-${from}}`,
      `--new-bindir={bin:pg_upgrade-${to}}`,
      ...['--old-datadir=old', '--new-datadir=new', `--username=${ADMIN}`, '--socketdir={runtime}', '--link', '--no-sync'],
      ...[`--old-options=-c hba_file=${HBA}`, `--new-options=-c hba_file=${HBA}`],
    ]),
  },
]

const OUTDATED = `select name from pg_available_extensions where installed_version <> default_version`

/** Extensions come as they were; the newer major may bring newer ones. */
async function updateExtensions(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(OUTDATED)
  for (const { name } of rows) {
    const quoted = `"${name.replaceAll('"', '""')}"`
    await client.query(`begin; set local role ${OWNER}; alter extension ${quoted} update; commit`).catch(async () => {
      // One that is not the owner's.
      await client.query('rollback')
      await client.query(`alter extension ${quoted} update`)
    })
  }
}

/** By pg_upgrade, as data. */
export function postgresUpgrade({ version, sets, bootstrap, migrations }: UpgradeOptions): EngineUpgrade<Partial<PostgresSpec>> {
  const to = majorOf(version)
  return {
    can(written) {
      const from = majorOf(written)
      if (from >= to) return 'current'
      return sets.includes(from) && sets.includes(to) ? 'able' : 'tools'
    },
    files: { [HBA]: HBA_TEXT },
    steps: (written) => stepsOf(majorOf(written), to),
    async finish(at, service) {
      const signIns = makeSignIns(bootstrap)
      if (!(await signIns.ready(at, service))) throw fail('cluster_sign_in_refused')
      const client = await signIns.take(at, service)
      try {
        await updateExtensions(client)
        await dropTemplate0(client)
        const { degraded } = await prepareCluster(client, service, migrations)
        if (degraded) throw fail('engine_not_ready', { seconds: 0, reason: degraded.message })
        // Statistics came along, but not what autovacuum counts.
        await client.query('analyze')
        await client.query('checkpoint')
      } finally {
        await client.end().catch(() => undefined)
      }
    },
  }
}
