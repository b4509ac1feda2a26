import { createHash } from 'node:crypto'
import type pg from 'pg'
import { fail } from '../../../base/errors.ts'
import type { Endpoint, Template } from '../../driver.ts'
import { majorOf } from './majors.ts'
import { type Migration, migrateCluster } from './migrations.ts'
import { ADMIN, DATABASE } from './names.ts'
import { waitUntilReady } from './ready.ts'
import { adminVerifier } from './roles.ts'
import { postgresConf, SOCKET } from './workload.ts'

export interface TemplateOptions {
  /** "18.4" */
  readonly version: string
  readonly migrations: readonly Migration[]
  /** Password of our superuser in a fresh copy, until its first start: random, known to the server only. */
  readonly bootstrap: string
  readonly settings?: Readonly<Record<string, string | number>>
}

/** The same on every host, whatever its locale and time zone are. */
export const INIT = [
  'initdb',
  '-D',
  '{volume}',
  '-U',
  ADMIN,
  '--auth=reject',
  '--encoding=UTF8',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  '--locale=C',
  '--wal-segsize=1',
  '--no-instructions',
] as const
export const ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC' } as const

/** initdb takes over every locale that the host's C library has; a table that used one could not be moved to another host. ICU's stay. */
export const DROP_HOST_COLLATIONS = `delete from pg_collation where collprovider = 'c' and collname not in ('C', 'POSIX')`

/** A short-lived cluster in a directory that only the driver enters; people are never let in. */
const BUILD_HBA = `local ${DATABASE} ${ADMIN} trust\nlocal all all reject\n`

/** Another engine, system schema, password or way to make it is another name. */
export function templateName(options: TemplateOptions): string {
  const content = [...INIT, options.version, options.bootstrap, ...options.migrations.map((migration) => migration.checksum), '2']
  return `postgres-${options.version}-${createHash('sha256').update(content.join('\n')).digest('hex').slice(0, 12)}`
}

/** 7.5 MiB less in each project. Nobody can enter template1, so it is as pristine as template0; an upgrade makes that anew from it. */
export async function dropTemplate0(client: pg.Client): Promise<void> {
  await client.query('alter database template0 is_template false')
  await client.query('drop database template0')
}

async function fill(client: pg.Client, options: TemplateOptions): Promise<void> {
  await client.query(DROP_HOST_COLLATIONS)
  await migrateCluster(client, options.migrations)
  await client.query(`alter role ${ADMIN} password '${adminVerifier(options.bootstrap)}'`)
  // Frozen and analysed once, so that no copy has to.
  await client.query('vacuum (freeze, analyze)')
  await dropTemplate0(client)
  // initdb left log segments for later use, which each copy would carry: they are used up here, and not recycled (wal_recycle).
  await client.query(`do $$ begin
    for i in 1..8 loop perform pg_logical_emit_message(false, '', ''); perform pg_switch_wal(); end loop;
  end $$`)
  await client.query('checkpoint')
}

/** How the volume that every new project is a copy of is made. The driver runs it once on a node, stops it cleanly and renames it. */
export function postgresTemplate(options: TemplateOptions): Template {
  return {
    name: templateName(options),
    init: INIT,
    environment: ENVIRONMENT,
    workload: (id, volume) => ({
      id,
      engine: 'postgres',
      project: '',
      volume,
      command: ['postgres', '-D', '{volume}', '-k', '{runtime}'],
      environment: {},
      files: {
        'postgresql.conf': postgresConf({}, { ...options.settings, autovacuum: 'off', wal_recycle: 'off' }, majorOf(options.version)),
        'pg_hba.conf': BUILD_HBA,
        'pg_ident.conf': '',
        'postgresql.auto.conf': '',
      },
      socket: SOCKET,
      pidFile: 'postmaster.pid',
      stop: [
        { signal: 'SIGINT', wait: 20_000 },
        { signal: 'SIGKILL', wait: 5_000 },
      ],
      limits: { memory: 0, disk: 0 },
    }),
    async fill(at: Endpoint) {
      const client = await waitUntilReady(at, [options.bootstrap])
      if (!client) throw fail('cluster_sign_in_refused')
      try {
        await fill(client, options)
      } finally {
        await client.end().catch(() => undefined)
      }
    },
  }
}
