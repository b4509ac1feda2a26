/** What a storm of sign-ins does to reads that go on meanwhile; beside a process that does nothing but hash, and beside the peer in a storm of its own. */
import { fork } from 'node:child_process'
import { argon2 } from 'node:crypto'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { hash, ourSignIn, peerSignIn, type SignIn } from './auth-sign-in.ts'
import { bar, median, ms } from './figures.ts'
import { type Load, requestText, startLoad } from './load.ts'
import type { PocketBase } from './pocketbase.ts'
import type { BenchProject, BenchServer } from './server.ts'

const STORM = 8
const READERS = 8
/** As many hashes as realms/hashing.ts has under way. */
const AT_ONCE = Math.max(1, Math.min(2, availableParallelism() >> 1))

interface Storm {
  begin(): () => Promise<unknown>
  stop(): void
}

/** Sign-ins without end, each as soon as the one before is answered. */
const stormOf = (enter: SignIn): Storm => ({
  begin() {
    let on = true
    const one = async () => {
      while (on) await enter()
    }
    const all = Promise.all(Array.from({ length: STORM }, one))
    return () => {
      on = false
      return all
    }
  },
  stop: () => undefined,
})

async function startHashing(): Promise<Storm> {
  const child = fork(import.meta.filename, ['hash'])
  await once(child, 'message')
  return {
    begin() {
      child.send('begin')
      return () => {
        child.send('end')
        return once(child, 'message')
      }
    },
    stop: () => void child.kill('SIGKILL'),
  }
}

function hashing(): void {
  let on = false
  let under = 0
  const next = (): void => {
    if (!on) return void (under === 0 && process.send?.('ended'))
    under++
    argon2('argon2id', hash(), () => {
      under--
      next()
    })
  }
  process.on('message', (word) => {
    on = word === 'begin'
    if (on) for (let i = 0; i < AT_ONCE; i++) next()
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.('ready')
}

async function p99(load: Load, seconds: number, storm?: Storm): Promise<number> {
  const end = storm?.begin()
  const { p99: seen, errors, firstError } = await load.run(seconds)
  await end?.()
  if (errors > 0) throw new Error(`${errors} reads failed: ${firstError}`)
  return seen
}

export interface Reader {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

const loadOf = ({ host, port, path, headers }: Reader): Promise<Load> =>
  startLoad({ host, port, connections: READERS, requests: [requestText({ method: 'GET', path, headers }, `${host}:${port}`)], pause: 5 })

const peerReader = (peer: PocketBase): Reader => ({
  host: '127.0.0.1',
  port: peer.port,
  path: `/api/collections/todos/records/${peer.rowId(7)}`,
  headers: { authorization: peer.token(7) },
})

interface How {
  readonly rounds: number
  readonly seconds: number
}

export async function stormed(server: BenchServer, project: BenchProject, peer: PocketBase | null, reads: Reader, how: How): Promise<void> {
  const load = await loadOf(reads)
  const peerLoad = peer ? await loadOf(peerReader(peer)) : null
  const floor = await startHashing()
  const ours = stormOf(ourSignIn(server, project))
  try {
    await load.run(1)
    await peerLoad?.run(1)
    const seen = {
      quiet: [] as number[],
      storm: [] as number[],
      floor: [] as number[],
      peerQuiet: [] as number[],
      peerStorm: [] as number[],
    }
    for (let round = 0; round < how.rounds; round++) {
      seen.quiet.push(await p99(load, how.seconds))
      seen.storm.push(await p99(load, how.seconds, ours))
      seen.floor.push(await p99(load, how.seconds, floor))
      if (!peer || !peerLoad) continue
      seen.peerQuiet.push(await p99(peerLoad, how.seconds))
      seen.peerStorm.push(await p99(peerLoad, how.seconds, stormOf(peerSignIn(peer))))
    }
    const times = (some: readonly number[], quiet: readonly number[]) => `${(median(some) / median(quiet)).toFixed(2)} ×`
    const { quiet, storm } = seen
    console.log(`reads, ${READERS} connections: p99 ${ms(median(quiet))} quiet, ${ms(median(storm))} while ${STORM} sign in without end`)
    bar("reads' p99 during the storm by the quiet one", median(storm) / median(quiet), 2)
    console.log(
      `        (beside a process that does nothing but hash, as many at once: ${ms(median(seen.floor))}, ${times(seen.floor, quiet)})`,
    )
    if (peer)
      console.log(
        `        (PocketBase: ${ms(median(seen.peerQuiet))} quiet, ${ms(median(seen.peerStorm))} in a storm of its own, ${times(seen.peerStorm, seen.peerQuiet)})`,
      )
  } finally {
    load.stop()
    peerLoad?.stop()
    floor.stop()
  }
}

if (process.argv[2] === 'hash') hashing()
