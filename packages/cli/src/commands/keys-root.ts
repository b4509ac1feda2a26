import { existsSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from '../api/client.ts'
import { type Context, command } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { pairs } from '../terminal/output.ts'

interface RootKey {
  readonly key_id: string
  readonly source: string
  readonly former: number
  readonly sealed: boolean
}

const LOOK = 200
const SAFE = 'It is not in the safe yet: sovra keys export-root --to FILE'

const shown = ({ key_id, source, former, sealed }: RootKey): string =>
  pairs([
    ['Root key', key_id],
    ['From', source],
    ['Former keys', former],
    ['Sealed', sealed ? 'everything' : 'not everything yet'],
  ])

export const root = command({
  use: 'root',
  says: 'which root key is in force, and whether all is sealed with it',
  examples: ['sovra keys root'],
  async run(context) {
    const found = await (await context.client()).request<RootKey>('GET', '/root-key')
    return { data: found, text: shown(found) }
  },
})

async function untilSealed(context: Context, client: Client): Promise<RootKey> {
  return context.spin('Sealing what is stored', async () => {
    for (;;) {
      const found = await client.request<RootKey>('GET', '/root-key')
      if (found.sealed) return found
      await pause(LOOK)
    }
  })
}

export const rotateRoot = command<{ forgetFormer?: boolean }>({
  use: 'rotate-root',
  says: 'a new root key while the server runs: everything stored is sealed with it',
  examples: ['sovra keys rotate-root', 'sovra keys rotate-root --forget-former'],
  flags: [['--forget-former', 'make no new one; remove the former keys from the key file']],
  more: `The former key stays in the file, so that copies of the metadata made before still open. Forget it once they are gone, or at once when it has leaked.
On the machine of the server only.`,
  async run(context, { forgetFormer }) {
    const client = await context.client()
    if (forgetFormer) {
      const left = await client.request<RootKey>('POST', '/root-key/forget')
      return { data: left, text: shown(left) }
    }
    await client.request('POST', '/root-key/rotate')
    const found = await untilSealed(context, client)
    return { data: found, text: `${shown(found)}\n${SAFE}` }
  },
})

export const exportRoot = command<{ to?: string }>({
  use: 'export-root',
  says: 'the root key of the installation, for the safe; it is recorded',
  examples: ['sovra keys export-root --to /media/safe/root.key'],
  flags: [['--to <file>', 'a new file, mode 0600, instead of the terminal']],
  more: 'Without it nothing sealed in the metadata can be opened. The file can be put at <data>/keys/root.key as it is. On the machine of the server only.',
  async run(context, { to }) {
    if (to !== undefined && existsSync(to)) throw stop('backup_exists', { file: to })
    const client = await context.client()
    const made = await client.request<{ key_id: string; keys: string[] }>('POST', '/root-key/export')
    const text = made.keys.join('\n')
    if (to === undefined) return { data: made, text }
    writeFileSync(to, `${text}\n`, { mode: 0o600, flag: 'wx' })
    return { data: { key_id: made.key_id, file: to }, text: `${to}: the root key ${made.key_id}.` }
  },
})
