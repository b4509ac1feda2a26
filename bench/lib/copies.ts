/** A backup as the server streams it, and what it is measured against. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { newIdentity } from '@sovrabase/server/base/archive/seal'
import { median } from './figures.ts'
import type { BenchServer } from './server.ts'

/** As strong as ours (base/archive/write.ts), and as many threads. */
export const ZSTD = 'zstd -q -3 -T1 -f'

/** Beside the event loop, which has to hear meanwhile that the server closes kept connections. */
export const shell = async (script: string, ...args: string[]): Promise<void> =>
  void (await promisify(execFile)('bash', ['-c', `set -eo pipefail; ${script}`, 'bash', ...args]))

export async function timed(work: () => unknown): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** Both in turns; the first of each warms the files and does not count. Medians, ms. */
export async function inTurns(rounds: number, ours: () => unknown, theirs: () => unknown): Promise<{ ours: number; theirs: number }> {
  const times: { ours: number; theirs: number }[] = []
  for (let round = 0; round <= rounds; round++) times.push({ ours: await timed(ours), theirs: await timed(theirs) })
  const of = (name: 'ours' | 'theirs') => median(times.slice(1).map((time) => time[name]))
  return { ours: of('ours'), theirs: of('theirs') }
}

export interface Copies {
  readonly server: BenchServer
  readonly folder: string
  /** Opens what is sealed in them. */
  readonly identity: string
  /** Answers the file. */
  backup(path: string, name: string): Promise<string>
}

export async function makeCopies(server: BenchServer, folder: string): Promise<Copies> {
  const { identity, recipient } = await newIdentity()
  return {
    server,
    folder,
    identity,
    async backup(path, name) {
      const file = join(folder, name)
      // By a process of its own, as people do: what they measure meanwhile is not theirs.
      const script = 'curl -sS --fail-with-body -X POST -H "$1" --json "$2" -o "$3" "$4" || { cat "$3" >&2; exit 1; }'
      await shell(
        script,
        `authorization: Bearer ${server.localToken}`,
        JSON.stringify({ recipients: [recipient] }),
        file,
        `${server.url}/v1${path}`,
      )
      return file
    },
  }
}
