import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Archive, backups, serverCommand } from '../api/local.ts'
import type { Context } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { table } from '../terminal/output.ts'

interface CountedVolume {
  readonly tables: number
  readonly rows: number
  readonly failed?: string
}

export interface Started {
  readonly project: string
  readonly service: string
  readonly tables: number
  readonly rows: number
}

/** The server's own program, with its rights, on a directory that only this command knows. */
function count(dataDir: string): Promise<Record<string, CountedVolume>> {
  const { file, args, cwd, env } = serverCommand()
  const child = spawn(file, [...args, 'count'], { cwd, env: { ...env, SOVRABASE_DATA_DIR: dataDir }, stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  return new Promise((done, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) done(JSON.parse(out) as Record<string, CountedVolume>)
      else reject(stop('backup_not_started', { name: dataDir, reason: `the server's program ended with ${code}` }))
    })
  })
}

/** Unpacks a backup beside everything, starts each of its clusters and counts the rows; nothing of it stays. */
export async function startFrom(context: Context, archive: Archive, identity: string): Promise<Started[]> {
  const { unpackVolumes, removeOnInterrupt } = await backups()
  const scratch = mkdtempSync(join(tmpdir(), 'sovra-verify-'))
  const interrupted = removeOnInterrupt(scratch)
  try {
    return await context.spin('Unpacking', async (spin) => {
      const dataDir = join(scratch, 'data')
      const volumes = await unpackVolumes(archive, identity, dataDir)
      spin.say('Starting and counting')
      const counted = await count(dataDir)
      return volumes.map(({ volume, project, service }) => {
        const { tables, rows, failed } = counted[volume] ?? { tables: 0, rows: 0, failed: 'it is not there' }
        if (failed !== undefined) throw stop('backup_not_started', { name: `${project}, ${service}`, reason: failed })
        return { project, service, tables, rows }
      })
    })
  } finally {
    interrupted.end()
    rmSync(scratch, { recursive: true, force: true })
  }
}

export const startedText = (started: readonly Started[]): string =>
  table(
    ['STARTED', 'SERVICE', 'TABLES', 'ROWS'],
    started.map(({ project, service, tables, rows }) => [project, service, String(tables), String(rows)]),
  )
