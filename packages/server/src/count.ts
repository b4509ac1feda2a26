import { join } from 'node:path'
import { isSovraError } from './base/errors.ts'
import { makeLog } from './base/log.ts'
import type { LoadedConfig } from './config.ts'
import { type KeeperOptions, openSeat } from './keeper.ts'
import { postgresProgram } from './programs.ts'
import { embeddedDriver } from './runtime/drivers/embedded/driver.ts'
import { postgresEngine } from './runtime/engines/postgres/index.ts'
import type { Service } from './runtime/services.ts'

export interface CountedVolume {
  readonly tables: number
  readonly rows: number
  /** Why it did not start, or could not be read. */
  readonly failed?: string
}

/** What a workload needs of a service: here there are no metadata, only volumes. */
const serviceOf = (volume: string): Service => ({
  ...{ id: `count/${volume}`, project: '', name: 'db', volume, engine: 'postgres', driver: 'embedded', region: '', node: null },
  ...{ spec: {}, specVersion: 1, observedVersion: 1, wanted: 'active', status: 'asleep', detail: {}, secrets: {}, source: null },
  ...{ engineVersion: null, systemVersion: null },
})

/** Starts each cluster of a data directory that no server runs on, one after the other, and counts its rows: `sovra backup verify --start`. */
export async function countRows({ config }: LoadedConfig, keeper: KeeperOptions): Promise<Record<string, CountedVolume>> {
  const seat = await openSeat(keeper)
  const log = makeLog({ level: 'warn', pretty: false, destination: process.stderr })
  try {
    const { version, settings, others } = await postgresProgram(config, join(seat.dataDir, 'engines'))
    const { recovery } = postgresEngine({ version, bootstrap: 'none is asked for', log, settings, others: Object.keys(others).map(Number) })
    const driver = embeddedDriver(seat.hands)
    const counted: Record<string, CountedVolume> = {}
    for (const volume of (await driver.volumes?.()) ?? []) {
      const service = serviceOf(volume)
      try {
        counted[volume] = await recovery.count(await driver.apply(recovery.workload(service)))
      } catch (error) {
        log.error({ err: error, volume, detail: await driver.log(volume, 2000) }, 'a cluster of the backup could not be read')
        counted[volume] = { tables: 0, rows: 0, failed: isSovraError(error) ? error.message : 'see above' }
      } finally {
        await driver.sleep(service.id)
      }
    }
    return counted
  } finally {
    await seat.close()
  }
}
