import { chown } from 'node:fs/promises'
import { fail } from '../../../base/errors.ts'
import type { RefitProgram } from '../../driver.ts'
import type { Accounts } from './accounts.ts'
import { checkFile, checkFiles, checkName, checkNumber, checkOrder, checkProgram, checkSignal, type Hands, type Programs } from './hands.ts'
import { runOnce } from './launch.ts'
import { closeLayout, type Layout, settle } from './layout.ts'
import { openLimits } from './limits.ts'
import { Pipes } from './pipes.ts'
import { Processes, resolveCommand } from './processes.ts'
import { must } from './shell.ts'
import { Volumes } from './volumes.ts'

export interface DirectOptions {
  readonly layout: Layout
  readonly accounts: Accounts
  readonly programs: Programs
  /** For tests: pretend that nothing better exists. */
  readonly limits?: 'cgroup2' | 'cgroup1' | 'rlimit'
}

const MAX_LOG = 1 << 20

/** One after the other for each name, side by side for different ones. */
function queues() {
  const tails = new Map<string, Promise<unknown>>()
  const one = <R>(name: string, work: () => Promise<R>): Promise<R> => {
    const mine = (tails.get(name) ?? Promise.resolve()).then(work, work)
    const settled = mine.catch(() => {})
    tails.set(name, settled)
    void settled.then(() => tails.get(name) === settled && tails.delete(name))
    return mine
  }
  // Always in the order of the names: two callers that want the same two cannot wait for each other.
  return <R>(names: readonly string[], work: () => Promise<R>): Promise<R> =>
    [...new Set(names)].sort().reduceRight<() => Promise<R>>((inner, name) => () => one(name, inner), work)()
}

/** What the hands work with. */
interface Bench {
  readonly volumes: Volumes
  readonly processes: Processes
  readonly pipes: Pipes
  /** After whatever is asked of these volumes already. */
  readonly queued: ReturnType<typeof queues>
  /** Likewise, on volumes that no process uses. */
  readonly onStill: <R>(names: readonly unknown[], work: (checked: string[]) => Promise<R>) => Promise<R>
}

/** Runs a program once on a volume, as its owner; processes that it has left there are ended, however it ended. */
async function initVolume(
  { layout, accounts, programs }: DirectOptions,
  { volumes, processes }: Bench,
  volume: string,
  program: RefitProgram,
): Promise<string> {
  const dir = volumes.path(volume)
  const owner = await volumes.owner(volume)
  if (owner === null) throw fail('volume_missing', { volume })
  const uid = accounts.server === null ? null : owner
  return await processes.within(volume, owner, async (runtime) => {
    const command = await resolveCommand(program.command, programs, { volume: dir, runtime })
    const launch = { command, environment: program.environment, uid, cwd: dir, data: 0, input: program.input ?? '' }
    return await runOnce(launch, layout, async (lent) => {
      for (const at of [runtime, dir])
        if (lent !== null && lent !== owner) await chown(at, lent, lent)
        else await must('chown', ['-R', '-h', `${owner}:${owner}`, '--', at], dir)
    })
  })
}

function bench(volumes: Volumes, processes: Processes, pipes: Pipes): Bench {
  const queued = queues()
  const still = (volume: string): void => {
    if (processes.isRunning(volume)) throw fail('volume_running', { volume })
  }
  return {
    ...{ volumes, processes, pipes, queued },
    onStill: (names, work) => {
      const checked = names.map(checkName)
      return queued(checked, () => {
        checked.forEach(still)
        return work(checked)
      })
    },
  }
}

/** Directories: made, copied, moved, measured, removed. */
const volumeHands = ({ volumes, processes, queued, onStill }: Bench) =>
  ({
    volumes: () => volumes.list(),
    templates: () => volumes.templates(),
    make: async (volume, template) => {
      const from = template === null ? null : checkName(template)
      return queued([checkName(volume)], () => volumes.make(volume, from))
    },
    copy: async (from, to) => onStill([from, to], () => volumes.copy(from, to)),
    move: async (from, to) => onStill([from, to], () => volumes.move(from, to)),
    remove: async (volume) =>
      queued([checkName(volume)], async () => {
        await processes.stop(volume)
        await processes.reap(volume)
        processes.forget(volume)
        await volumes.remove(volume)
      }),
    disk: async (volume) => volumes.disk(checkName(volume)),
    usage: async (volume) => volumes.usage(checkName(volume)),
    log: async (volume, bytes) => volumes.readLog(checkName(volume), checkNumber(bytes, MAX_LOG)),
    stage: async (from, to, files) => {
      const checked = checkFiles(files)
      return onStill([from, to], () => volumes.stage(from, to, checked))
    },
    unfold: async (volume, inner) => {
      const checked = checkFile(inner)
      return onStill([volume], () => volumes.unfold(volume, checked))
    },
    promote: async (volume, template) => onStill([volume, template], () => volumes.promote(volume, template)),
  }) satisfies Partial<Hands>

/** What runs on them. */
const processHands = (options: DirectOptions, at: Bench) => {
  const { volumes, processes, queued, onStill } = at
  return {
    state: async (volume) => ({
      exists: (await volumes.owner(checkName(volume))) !== null,
      pid: processes.pid(volume),
      crashed: processes.hasCrashed(volume),
    }),
    memory: async (volume) => processes.memory(checkName(volume)),
    start: async (order) => {
      const checked = checkOrder(order)
      return queued([checked.volume], () => processes.start(checked))
    },
    stop: async (volume) => queued([checkName(volume)], () => processes.stop(volume)),
    signal: async (volume, signal) => processes.signal(checkName(volume), checkSignal(signal)),
    init: async (volume, command, environment, input) => {
      const checked = checkProgram(command, environment, input)
      return onStill([volume], () => initVolume(options, at, volume, checked))
    },
    onExit: (listener) => processes.onExit(listener),
  } satisfies Partial<Hands>
}

/** Their bytes as a tar, through a socket of its own. */
const pipeHands = ({ volumes, pipes, onStill }: Bench) =>
  ({
    pipe: () => pipes.open(),
    pack: async (volume, pipe) => {
      const to = await pipes.take(pipe)
      return onStill([volume], () => volumes.pack(volume, to)).catch((error: unknown) => {
        to.destroy()
        throw error
      })
    },
    unpack: async (volume, pipe) => {
      const from = await pipes.take(pipe)
      return onStill([volume], () => volumes.unpack(volume, from)).catch((error: unknown) => {
        from.destroy()
        throw error
      })
    },
  }) satisfies Partial<Hands>

/**
 * Hands that work in this process, with its rights. The directories are settled first; every argument is checked here, whoever asks, and
 * every method is async: a refused one is a rejection, as over IPC.
 */
export async function directHands(options: DirectOptions): Promise<Hands> {
  const { layout, accounts, programs } = options
  settle(layout, accounts)
  const volumes = await Volumes.open(layout, accounts)
  const limits = openLimits(layout.hash, options.limits)
  const processes = new Processes({ layout, accounts, programs, limits, volumes })
  const at = bench(volumes, processes, new Pipes(layout.runtime, accounts.server))
  const sweeping = volumes.sweep(await volumes.leftovers()).catch(() => {})
  return {
    facts: { isolation: accounts.isolation, limits: limits.kind },
    ...volumeHands(at),
    ...processHands(options, at),
    ...pipeHands(at),
    async close() {
      await processes.close()
      await sweeping
      limits.close()
      closeLayout(layout)
    },
  }
}
