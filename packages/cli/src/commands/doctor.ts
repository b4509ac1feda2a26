import { writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { bundleOf } from '../doctor/bundle.ts'
import type { Check, State } from '../doctor/check.ts'
import { machineChecks } from '../doctor/machine.ts'
import { serverChecks } from '../doctor/server.ts'
import { t } from '../doctor/words.ts'
import { command } from '../program/command.ts'
import { json, plain } from '../terminal/output.ts'

const SIGNS: Readonly<Record<State, string>> = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL', skipped: '-   ' }

const shown = ({ name, state, says, remedy }: Check): string =>
  [`${SIGNS[state]}  ${plain(name)}: ${plain(says)}`, ...(remedy && state !== 'ok' ? [`      → ${plain(remedy)}`] : [])].join('\n')

export const doctor = command<{ bundle?: string }>({
  use: 'doctor',
  says: 'look at everything that can be wrong, each with its remedy; needs no running server',
  examples: ['sovra doctor', 'sovra doctor --json', 'sovra doctor --bundle support.json.gz'],
  flags: [['--bundle <file>', 'write what support needs to a file: no secrets, no names, no addresses']],
  more: 'Exit code 1 when something is wrong; a warning alone is 0.',
  async run(context, { bundle }) {
    const checks = await context.spin(t('looking'), async () => {
      const machine = await machineChecks()
      return [...machine, ...(await serverChecks(context))]
    })
    const failed = checks.filter(({ state }) => state === 'fail').length
    const warned = checks.filter(({ state }) => state === 'warn').length
    const lines = checks.map(shown)
    if (bundle !== undefined) {
      writeFileSync(bundle, gzipSync(json(await bundleOf(context, checks))), { mode: 0o600, flag: 'wx' })
      lines.push(t('wrote', { bundle }))
    }
    lines.push(failed + warned === 0 ? t('well') : t('sum', { failed, warned }))
    return { data: { checks, failed, warned }, text: lines.join('\n'), exit: failed > 0 ? 1 : 0 }
  },
})
