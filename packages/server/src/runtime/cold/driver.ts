import { openTar } from '../../base/archive/tar-apart.ts'
import type { Log } from '../../base/log.ts'
import type { Driver } from '../driver.ts'
import type { Packs } from './packs.ts'

/** A driver whose volumes may be packed while nothing runs on them. */
export interface ColdDriver extends Driver {
  /** Packs a volume that nobody uses, and removes it. Answers bytes. The caller keeps wakes away meanwhile. */
  chill(id: string, volume: string): Promise<number>
  /** Bytes of each that is packed. */
  packed(): ReadonlyMap<string, number>
}

type Thaw = (volume: string) => Promise<void>

/**
 * The same driver, with volumes that are packed unpacked where they are wanted. What is true is what lies there: a volume counts before its pack, and
 * there is at each moment one of both that is whole.
 *
 *   pack:   write, sync and read back the pack → remove the volume       (killed between: both; the volume counts)
 *   unpack: lay the volume beside, sync, rename it → remove the pack     (killed between: both; the volume counts)
 */
export function withCold(driver: Driver, packs: Packs, log: Log): ColdDriver {
  return {
    ...driver,
    ...laidFirst(driver, makeThaw(driver, packs, log)),
    ...whereverItLies(driver, packs),
    packed: () => packs.sizes(),
    async chill(id, volume) {
      if (!driver.pack) return 0
      const size = await packs.write(volume, openTar(await driver.pack(volume)))
      await driver.remove(id, volume)
      return size
    },
    async remove(id, volume) {
      await driver.remove(id, volume)
      await packs.drop(volume)
    },
  }
}

async function isAbsent(driver: Driver, volume: string): Promise<boolean> {
  return (await driver.inspect('', volume)).state === 'absent'
}

/** The volume is there afterwards where there was a pack of it; all who want it wait for one unpacking. */
function makeThaw(driver: Driver, packs: Packs, log: Log): Thaw {
  const thawing = new Map<string, Promise<void>>()
  return (volume) => {
    const running = thawing.get(volume)
    if (running) return running
    if (packs.sizeOf(volume) === undefined) return Promise.resolve()
    const laying = lay(driver, packs, log, volume).finally(() => thawing.delete(volume))
    thawing.set(volume, laying)
    return laying
  }
}

async function lay(driver: Driver, packs: Packs, log: Log, volume: string): Promise<void> {
  const { unpack } = driver
  if (unpack && (await isAbsent(driver, volume))) {
    const began = performance.now()
    const tar = await packs.read(volume)
    let broken: unknown
    tar.once('error', (error) => {
      broken = error
    })
    // Who unpacks knows only that it came to no end.
    await unpack(volume, tar).catch((error: unknown) => {
      throw broken ?? error
    })
    log.info({ volume, ms: Math.round(performance.now() - began) }, 'unpacked a project')
  }
  // From here on the volume counts; a pack that stays is removed by the next start.
  await packs.drop(volume).catch((error: unknown) => log.warn({ err: error, volume }, 'could not remove a pack'))
}

/** What works on the files of a volume: they are laid out before it begins. */
function laidFirst(driver: Driver, thaw: Thaw): Pick<Driver, 'apply' | 'copy' | 'move' | 'refit'> {
  const { move, refit } = driver
  return {
    async apply(workload) {
      await thaw(workload.volume)
      return driver.apply(workload)
    },
    async copy(from, to) {
      await thaw(from)
      return driver.copy(from, to)
    },
    ...(move
      ? {
          move: async (from: string, to: string) => {
            await thaw(from)
            await move(from, to)
          },
        }
      : {}),
    ...(refit
      ? {
          refit: {
            ...refit,
            stage: async (from: string, to: string, files: Readonly<Record<string, string>>) => {
              await thaw(from)
              await refit.stage(from, to, files)
            },
          },
        }
      : {}),
  }
}

/** What is asked of a volume and needs no files laid out: a pack answers as well. */
function whereverItLies(driver: Driver, packs: Packs): Pick<Driver, 'pack' | 'volumes' | 'usage' | 'inspect'> {
  const { pack } = driver
  return {
    ...(pack
      ? {
          pack: async (volume: string) =>
            packs.sizeOf(volume) !== undefined && (await isAbsent(driver, volume)) ? packs.read(volume) : pack(volume),
        }
      : {}),
    volumes: async () => [...new Set([...((await driver.volumes?.()) ?? []), ...packs.sizes().keys()])].sort(),
    async usage(volume) {
      const found = await driver.usage?.(volume)
      const size = packs.sizeOf(volume)
      return found ?? (size === undefined ? undefined : { total: size, parts: {}, log: 0 })
    },
    async inspect(id, volume, options) {
      const seen = await driver.inspect(id, volume, options)
      if (seen.state !== 'absent' || !(await packs.has(volume))) return seen
      const disk = options?.disk ? packs.sizeOf(volume) : undefined
      return { state: 'asleep', ...(disk === undefined ? {} : { disk }) }
    },
  }
}
