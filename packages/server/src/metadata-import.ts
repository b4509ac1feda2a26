import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { makeLog } from './base/log.ts'
import type { LoadedConfig } from './config.ts'
import { type KeeperOptions, openSeat } from './keeper.ts'
import { copyIn } from './metadata/copy-in.ts'
import { openMetadata } from './metadata/open.ts'

const PRIVATE = { file: 0o600, folder: 0o700 } as const

/** A copy of the metadata, as it comes in, into the empty database of the configuration. It holds the data directory as a server does. */
export async function importMetadata({ config }: LoadedConfig, keeper: KeeperOptions): Promise<{ rows: number; database: string }> {
  const seat = await openSeat(keeper)
  const spool = join(seat.dataDir, 'spool')
  await mkdir(spool, { recursive: true, mode: PRIVATE.folder })
  const dir = await mkdtemp(join(spool, 'import-'))
  try {
    // It may be a file of root's, which this process cannot open.
    const file = join(dir, 'copy.sqlite')
    await pipeline(process.stdin, createWriteStream(file, { mode: PRIVATE.file }))
    const log = makeLog({ level: 'warn', pretty: false, destination: process.stderr })
    const metadata = await openMetadata({ database: config.database, data: { dir: seat.dataDir } }, { log })
    try {
      return { rows: await copyIn(file, metadata, dir), database: config.database.type }
    } finally {
      await metadata.close()
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
    await seat.close()
  }
}
