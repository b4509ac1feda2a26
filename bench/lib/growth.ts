/** Days of traffic with a moved clock: what is written each day against what the sweeper takes away. */
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeBus } from '@sovrabase/server/base/events'
import { uuid } from '@sovrabase/server/base/ids'
import { makeQueue } from '@sovrabase/server/base/jobs'
import { openLogFiles } from '@sovrabase/server/base/log-files'
import { makeChanger, SYSTEM } from '@sovrabase/server/metadata/change'
import { openMetadata } from '@sovrabase/server/metadata/open'
import { sweep } from '@sovrabase/server/metadata/retention'
import { bar } from './figures.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MIB = 1024 ** 2
const CHANGES = 400
const LINES = 20_000
/** Of events, so that their end lies within the days; the default, 400 days, lies beyond. The others are the defaults. */
const EVENTS = 7 * DAY
const LOGS = 7 * DAY

const sizeOf = (dir: string, which: RegExp): number =>
  readdirSync(dir)
    .filter((name) => which.test(name))
    .reduce((sum, name) => sum + statSync(join(dir, name)).size, 0)

export async function growth(days: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'sovra-bench-growth-'))
  const logDir = join(dir, 'log')
  let now = Date.now()
  const clock = () => now
  const metadata = await openMetadata({ database: { type: 'sqlite', connection_string: null }, data: { dir } })
  const change = makeChanger(metadata, { bus: makeBus(metadata), queue: makeQueue(metadata.kysely, { now: clock }), now: clock })
  const logs = openLogFiles({ dir: logDir, size: 4 * MIB, keep: LOGS, total: 512 * MIB, now: clock })
  const db = metadata.kysely

  async function oneDay(): Promise<void> {
    for (let n = 0; n < CHANGES; n++) {
      const key = uuid()
      await change(SYSTEM, async (c) => {
        await c.event({ name: 'project.updated', subject: key, before: { name: 'before' }, after: { name: 'after' } })
        await c.job({ kind: 'bench', key })
        await c.trx
          .insertInto('idempotent_answers')
          .values({
            key,
            actor: 'bench',
            fingerprint: key,
            status: 200,
            headers: '{}',
            body: 'x'.repeat(500),
            created_at: now,
            expires_at: now + DAY,
          })
          .execute()
        await c.trx
          .insertInto('denied_sessions')
          .values({ realm: 'platform', session_id: key, expires_at: now + HOUR })
          .execute()
      })
      await db.updateTable('jobs').set({ state: 'done', finished_at: now }).where('key', '=', key).execute()
      for (let line = 0; line < LINES / CHANGES; line++)
        logs.write(
          `{"level":"info","time":"${new Date(now).toISOString()}","method":"GET","route":"/rest/v1/:table","status":200,"ms":1.2,"msg":"request"}\n`,
        )
      // The file system has the real time.
      utimesSync(join(logDir, 'server.log'), now / 1000, now / 1000)
      now += DAY / CHANGES
    }
    logs.flush()
    logs.sweep()
    await sweep(metadata, { events: EVENTS }, now)
  }

  const sizes: { readonly metadata: number; readonly logs: number }[] = []
  try {
    for (let day = 1; day <= days; day++) {
      await oneDay()
      sizes.push({ metadata: sizeOf(dir, /^metadata\.sqlite/), logs: sizeOf(logDir, /\.log$/) })
      if (day % 5 === 0) {
        const last = sizes.at(-1)
        console.log(
          `  day ${day}: metadata ${((last?.metadata ?? 0) / MIB).toFixed(1)} MiB, logs ${((last?.logs ?? 0) / MIB).toFixed(1)} MiB`,
        )
      }
    }
  } finally {
    logs.close()
    await metadata.close()
    rmSync(dir, { recursive: true, force: true })
  }
  const most = (of: 'metadata' | 'logs', from: number, to: number) => Math.max(...sizes.slice(from, to).map((one) => one[of]))
  const third = Math.floor(days / 3)
  for (const kind of ['metadata', 'logs'] as const)
    bar(
      `${kind}: days ${2 * third + 1}–${days} beside ${third + 1}–${2 * third}`,
      most(kind, 2 * third, days) / most(kind, third, 2 * third),
      1.1,
    )
}
