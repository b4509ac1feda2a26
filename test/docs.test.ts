/** Commands that documentation and hints name are there, with the options that they name. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '..')
const read = (name: string): string => readFileSync(join(root, name), 'utf8')
const documents = [...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`), 'README.md', 'README.fr.md', 'SECURITY.md'].filter(
  (name) => name.endsWith('.md'),
)
const hints = ['packages/contract/src/errors.ts', 'packages/contract/src/errors-fr.ts']

/** What may follow each path of words, as the shell's completion knows it. */
function known(): ReadonlyMap<string, ReadonlySet<string>> {
  const main = join(root, 'packages/cli/src/main.ts')
  const { stdout, status, stderr } = spawnSync(process.execPath, ['--no-warnings', main, 'completion', 'bash'], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const levels = stdout.matchAll(/^ {4}'([^']*)'\) words='([^']*)'/gm)
  return new Map([...levels].map(([, path = '', words = '']) => [path, new Set(words.split(' '))]))
}

function commandsIn(name: string): string[] {
  const text = read(name)
  const fences = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter(([, language = '']) =>
    ['', 'sh', 'bash', 'console'].includes(language),
  )
  const blocks = fences.flatMap(([, , block = '']) => block.replaceAll('\\\n', ' ').split('\n'))
  const inBlocks = blocks.flatMap((line) => [...line.matchAll(/(?:^|[\s|;&(])sovra (\S[^#|;&)]*)/g)].map(([, rest = '']) => rest))
  const inText = [...text.matchAll(/`sovra ([^`\n]+)`/g)].map(([, rest = '']) => rest)
  return [...inBlocks, ...inText]
}

/** What is wrong with it; null: nothing. */
function wrongWith(command: string, tree: ReadonlyMap<string, ReadonlySet<string>>): string | null {
  let path = ''
  const words = command.trim().split(/\s+/)
  for (const [index, word] of words.entries()) {
    const next = `${path} ${word}`.trim()
    if (tree.has(next)) {
      path = next
      continue
    }
    // A group takes no other words; a command's own begin here.
    const group = [...(tree.get(path) ?? [])].some((one) => !one.startsWith('--') && tree.has(`${path} ${one}`.trim()))
    if (group && /^[a-z][a-z-]+$/.test(word) && path !== 'logs') return `no ${next}`
    const options = words.slice(index).flatMap((one) => /^--[a-z][a-z-]+/.exec(one)?.[0] ?? [])
    const missing = options.filter((one) => !tree.get(path)?.has(one) && !tree.get('')?.has(one))
    return missing.length > 0 ? `no ${missing.join(', ')} of ${path}` : null
  }
  return null
}

test('every command of the documentation and of the hints is one, with its options', () => {
  const tree = known()
  assert.ok(tree.size > 60, String(tree.size))
  let seen = 0
  const wrong = [...documents, ...hints].flatMap((name) =>
    commandsIn(name).flatMap((command) => {
      seen++
      const why = wrongWith(command, tree)
      return why === null ? [] : [`${name}: sovra ${command.trim()}: ${why}`]
    }),
  )
  assert.ok(seen > 300, String(seen))
  assert.deepEqual(wrong, [])
})

test('every make target that is named is one', () => {
  const targets = new Set([...read('Makefile').matchAll(/^([a-z-]+):/gm)].map(([, name]) => name))
  const wrong = [...documents, ...hints, 'CONTRIBUTING.md'].flatMap((name) =>
    [...read(name).matchAll(/(?:^|`|sudo )make ([a-z][a-z-]*)(?=[`\s])/gm)].flatMap(([, target]) =>
      targets.has(target) ? [] : [`${name}: make ${target}`],
    ),
  )
  assert.deepEqual(wrong, [])
})
