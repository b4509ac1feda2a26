/** `npm run bench -- NAME [options]`: one file a bench; without a name it lists them. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = import.meta.dirname
const [name, ...rest] = process.argv.slice(2)
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -3))

/** First sentence of a bench's own comment. */
function aboutOf(bench: string): string {
  const comment = /\/\*\*\s*(?:\*\s*)?([\s\S]*?)\*\//.exec(readFileSync(join(folder, `${bench}.ts`), 'utf8'))?.[1] ?? ''
  const text = comment.replaceAll(/\s*\n\s*\*\s*/g, ' ').trim()
  return text.split(/(?<=\.)\s/)[0] ?? ''
}

if (name === undefined || !names.includes(name)) {
  console.log('npm run bench -- NAME [options]\n')
  for (const bench of names) console.log(`  ${bench.padEnd(10)} ${aboutOf(bench)}`)
  process.exit(name === undefined ? 0 : 1)
}
const child = spawn(process.execPath, ['--no-warnings', join(folder, `${name}.ts`), ...rest], { stdio: 'inherit' })
// Ctrl-C reaches the child too, which ends what it started.
process.on('SIGINT', () => {})
child.once('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 130))
