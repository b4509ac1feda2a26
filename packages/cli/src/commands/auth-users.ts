import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { UserExport, UserImported } from '@sovrabase/contract/auth-users'
import { USER_BATCH } from '@sovrabase/contract/plain'
import type { Static } from 'typebox'
import type { Client } from '../api/client.ts'
import { findProject } from '../api/find.ts'
import { command } from '../program/command.ts'
import { FORMATS, type Format, type Read, readUsers } from '../users/read.ts'

type Imported = Static<typeof UserImported>

const SHOWN = 20

interface Tally {
  read: number
  created: number
  skipped: number
  refused: number
  readonly reasons: { at: string; reason: string }[]
}

/** Batches of one kind: users come before the identities that name them. */
async function* batches(rows: AsyncIterable<Read>): AsyncGenerator<Read[]> {
  let batch: Read[] = []
  for await (const row of rows) {
    if (batch.length === USER_BATCH || (batch[0] && batch[0].what !== row.what)) {
      yield batch
      batch = []
    }
    batch.push(row)
  }
  if (batch.length > 0) yield batch
}

function refuse(tally: Tally, at: string, reason: string): void {
  tally.refused++
  if (tally.reasons.length < SHOWN) tally.reasons.push({ at, reason })
}

async function send(client: Client, ref: string, batch: readonly Read[], dryRun: boolean, tally: Tally): Promise<void> {
  tally.read += batch.length
  const good = batch.filter(({ bad }) => bad === undefined)
  for (const { at, bad } of batch) if (bad !== undefined) refuse(tally, at, bad)
  if (good.length === 0) return
  const body = { dry_run: dryRun, [good[0]!.what]: good.map(({ row }) => row) }
  const { created, skipped, refused } = await client.request<Imported>('POST', `/projects/${ref}/auth/users/import`, { body })
  tally.created += created
  tally.skipped += skipped
  for (const { index, reason } of refused) refuse(tally, good[index]?.at ?? String(index), reason)
}

/** Ctrl-C ends it after the batch under way, so that what came in is told; another one at once. */
function interruption(): { readonly wanted: boolean; end(): void } {
  let wanted = false
  const interrupt = (): void => {
    wanted = true
  }
  process.once('SIGINT', interrupt)
  return {
    get wanted() {
      return wanted
    },
    end: () => void process.off('SIGINT', interrupt),
  }
}
const INTERRUPTED = 130

interface ImportOptions {
  readonly format: Format
  readonly hash?: string
  readonly dryRun?: boolean
}

export const importUsers = command<ImportOptions, [project: string, file: string]>({
  use: 'import <project> <file>',
  says: 'bring in users with their ids and passwords; who is there already stays as they are',
  examples: [
    'sovra auth import shop users.ndjson',
    'sovra auth import shop dump.sql --format supabase --dry-run',
    'sovra auth import shop users.json --format firebase --hash scrypt.json',
  ],
  flags: [
    ['--format <name>', 'what wrote the file', { default: 'sovrabase', choices: [...FORMATS] }],
    ['--hash <file>', 'firebase: JSON with base64_signer_key, base64_salt_separator, rounds and mem_cost of its console'],
    ['--dry-run', 'look at all of it and write nothing'],
  ],
  more: 'The file is read as a stream, and may be sent again after a break: what came in before is skipped.',
  async run(context, { format, hash, dryRun = false }, given, file) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const tally: Tally = { read: 0, created: 0, skipped: 0, refused: 0, reasons: [] }
    const interrupted = interruption()
    await context.spin('Reading', async (spinner) => {
      for await (const batch of batches(readUsers(file, format, hash))) {
        await send(client, ref, batch, dryRun, tally)
        spinner.say(`${tally.read} read, ${tally.created} ${dryRun ? 'would be created' : 'created'}, ${tally.refused} refused`)
        if (interrupted.wanted) break
      }
    })
    interrupted.end()
    const lines = [
      ...(interrupted.wanted ? ['Interrupted. Run it again to go on: who came in is skipped.'] : []),
      `${tally.read} read: ${tally.created} ${dryRun ? 'would be created' : 'created'}, ${tally.skipped} known already, ${tally.refused} refused.`,
      ...tally.reasons.map(({ at, reason }) => `${at}: ${reason}`),
      ...(tally.refused > tally.reasons.length ? [`… and ${tally.refused - tally.reasons.length} more`] : []),
    ]
    const exit = interrupted.wanted ? INTERRUPTED : tally.refused > 0 ? 1 : 0
    return { data: { ...tally, dry_run: dryRun, interrupted: interrupted.wanted }, text: lines.join('\n'), exit }
  },
})

export const exportUsers = command<{ out: string }, [project: string]>({
  use: 'export <project>',
  says: 'take out users with the hashes of their passwords, a JSON object a line; it is recorded',
  examples: ['sovra auth export shop --out users.ndjson'],
  flags: [['--out <file>', 'where to; it is readable by its owner only', { default: 'users.ndjson' }]],
  async run(context, { out }, given) {
    const client = await context.client()
    const { ref } = await findProject(client, given)
    const stream = createWriteStream(out, { mode: 0o600 })
    await once(stream, 'open')
    let written = 0
    await context.spin('Writing', async (spinner) => {
      let after: string | undefined
      do {
        const page = await client.request<Static<typeof UserExport>>('GET', `/projects/${ref}/auth/users/export`, { query: { after } })
        for (const user of page.users) if (!stream.write(`${JSON.stringify(user)}\n`)) await once(stream, 'drain')
        written += page.users.length
        spinner.say(`${written} written`)
        after = page.next ?? undefined
      } while (after !== undefined)
    })
    stream.end()
    await once(stream, 'finish')
    return { data: { file: out, users: written }, text: `${written} users are in ${out}.` }
  },
})
