import { chmodSync, mkdtempSync, readdirSync, statSync } from 'node:fs'
import pg from 'pg'
import { until } from '../../../../../../test/until.ts'
import type { Endpoint, Template, Workload } from '../../driver.ts'
import { openTree } from '../../engines/postgres/tree.ts'
import { startTime } from './proc.ts'

export const TEMPLATE = 'postgres-test'
const TREES = '/tmp/sovrabase-test-engines'

/** Short: below it may be sockets. Everyone may pass through it, as through /srv. */
export function tempDir(mode = 0o711): string {
  const dir = mkdtempSync('/tmp/sb-test-')
  chmodSync(dir, mode)
  return dir
}

/** One copy of the bundled tree for all tests of this machine. */
export const testPrograms = async () => ({ ...(await openTree({ engines: TREES })).programs, sh: '/bin/sh' })

const CONF = `listen_addresses = ''
shared_buffers = '8MB'
max_connections = 20
io_method = 'sync'
max_wal_size = '64MB'
autovacuum = off
`

const STOP = [
  { signal: 'SIGINT', wait: 10_000 },
  { signal: 'SIGQUIT', wait: 5_000 },
] as const

/** A small cluster: trust, since only the server's group reaches the socket. */
export function workload(id: string, more: Partial<Workload> = {}): Workload {
  return {
    id,
    engine: 'postgres',
    project: id,
    volume: `v-${id}`,
    template: TEMPLATE,
    command: ['postgres', '-D', '{volume}', '-k', '{runtime}'],
    environment: { LC_ALL: 'C', TZ: 'UTC' },
    files: { 'postgresql.conf': CONF, 'pg_hba.conf': 'local all all trust\n' },
    socket: '.s.PGSQL.5432',
    pidFile: 'postmaster.pid',
    stop: STOP,
    limits: { memory: 0, disk: 0 },
    ...more,
  }
}

export const template: Template = {
  name: TEMPLATE,
  init: [
    'initdb',
    '-D',
    '{volume}',
    '-U',
    'owner',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--wal-segsize=1',
    '--no-sync',
    '--no-instructions',
  ],
  environment: { LC_ALL: 'C', TZ: 'UTC' },
  workload: (id, volume) => ({ ...workload(id), id, volume, template: undefined }),
  fill: async (at) => void (await query(at, 'create table seen (n int)')),
}

/** Waits until the cluster answers, then one statement on a connection of its own. */
export async function query(at: Endpoint, sql: string): Promise<Record<string, unknown>[]> {
  const client = await until(async () => {
    const one = new pg.Client({ host: at.host, port: at.port, user: 'owner', database: 'postgres' })
    one.on('error', () => {})
    await one.connect()
    return one
  })
  try {
    return (await client.query(sql)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}

export const lives = (pid: number): boolean => startTime(pid) !== null

/** Living processes that the predicate wants, by their uid and command line. */
export function processes(wanted: (pid: number, uid: number) => boolean): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && lives(pid) && wanted(pid, statSync(`/proc/${pid}`).uid)
      } catch {
        return false
      }
    })
}
