import { createHash, randomBytes } from 'node:crypto'
import { linkSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail } from '../../../base/errors.ts'

/** Which data directory has which uids, until the next boot; after it, the directories' own group says it again. */
const CLAIMS = '/run/sovrabase/uids'

interface Slots {
  readonly first: number
  readonly width: number
  readonly count: number
}

const groupOf = (dir: string): number | null => {
  try {
    return statSync(dir).gid
  } catch {
    return null
  }
}

/** The slot whose first gid the directory has: `settle` gave it to the server. */
function slotOf(data: string, { first, width, count }: Slots): number | null {
  const gid = groupOf(data)
  if (gid === null) return null
  const slot = (gid - first) / width
  return Number.isInteger(slot) && slot >= 0 && slot < count ? slot : null
}

/** Root's own, so that nobody else can claim, or take a claim away. */
function claimsDirectory(at: string): string {
  for (const dir of [join(at, '..'), at]) mkdirSync(dir, { recursive: true, mode: 0o711 })
  const found = lstatSync(at)
  if (!found.isDirectory() || found.uid !== (process.geteuid?.() ?? 0))
    throw fail('directory_unusable', { dir: at, reason: 'it belongs to somebody else' })
  return at
}

const ownerOf = (claim: string): string | null => {
  try {
    return readFileSync(claim, 'utf8')
  } catch {
    return null
  }
}

/** A claim whose directory is gone, or has other uids by now, holds nothing. One that is just being made has no group yet: it is believed. */
const isVoid = (owner: string, slot: number, slots: Slots): boolean => {
  const gid = groupOf(owner)
  return gid === null || (gid !== 0 && slotOf(owner, slots) !== slot)
}

/** Claims are made whole by a link, and a void one is moved aside before it is replaced: of two who try, one gets it. */
function tryClaim(dir: string, slot: number, data: string, slots: Slots): boolean {
  const claim = join(dir, String(slots.first + slot * slots.width))
  const fresh = join(dir, `new-${randomBytes(6).toString('hex')}`)
  writeFileSync(fresh, data, { mode: 0o600, flag: 'wx' })
  try {
    for (;;) {
      try {
        linkSync(fresh, claim)
        return true
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const owner = ownerOf(claim)
      if (owner === data) return true
      if (owner !== null && !isVoid(owner, slot, slots)) return false
      const aside = `${fresh}-void`
      if (owner !== null) renameSync(claim, aside)
      rmSync(aside, { force: true })
    }
  } finally {
    rmSync(fresh, { force: true })
  }
}

/**
 * The range of uids that is this data directory's (its real path) alone on this machine: the one it has had, else one that its path tells,
 * else the next free one. Rejects with `uids_taken` when all are other directories'.
 */
export function claimSlot(data: string, slots: Slots, at: string = CLAIMS): number {
  const dir = claimsDirectory(at)
  const wished = slotOf(data, slots) ?? createHash('sha256').update(data).digest().readUInt32BE(0) % slots.count
  for (let step = 0; step < slots.count; step++) {
    const slot = (wished + step) % slots.count
    if (tryClaim(dir, slot, data, slots)) return slot
  }
  throw fail('uids_taken', { count: slots.count, dir })
}
