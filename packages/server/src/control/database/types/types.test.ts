import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { startServer, type TestServer } from '../../../../../../test/node.ts'
import { createProject, type TestProject } from '../../../../../../test/project.ts'

const ROOT = resolve(import.meta.dirname, '../../../../../..')
let server: TestServer
let project: TestProject
let directory: string

before(async () => {
  // Within the checkout, where supabase-js is found.
  mkdirSync(join(ROOT, '.cache'), { recursive: true })
  directory = mkdtempSync(join(ROOT, '.cache/types-'))
  server = await startServer()
  project = await createProject(server, 'typed')
  await project.sql(readFileSync(join(import.meta.dirname, 'types.testing.sql'), 'utf8'))
})
after(async () => {
  await server?.stop()
  rmSync(directory, { recursive: true, force: true })
})

async function types(lang: string, schemas?: string): Promise<string> {
  const query = new URLSearchParams({ lang, ...(schemas === undefined ? {} : { schemas }) })
  const answer = await server.api<{ types: string; schemas: string[] }>('GET', `/projects/${project.ref}/database/types?${query}`)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.types
}

function check(command: string, args: readonly string[]): void {
  const ran = spawnSync(command, args, { cwd: directory, encoding: 'utf8', env: { ...process.env, GOFLAGS: '-mod=mod', GOPROXY: 'off' } })
  assert.equal(ran.status, 0, `${command}: ${ran.stdout}${ran.stderr}${ran.error ?? ''}`)
}

const missing = (command: string, args: readonly string[]) =>
  spawnSync(command, args).status === 0 ? false : process.env.CI === 'true' ? false : `${command} is not installed`

test('TypeScript: an unmodified supabase-js is typed with it', async () => {
  const text = await types('ts', 'public,api')
  writeFileSync(join(directory, 'database.types.ts'), text)
  copyFileSync(join(import.meta.dirname, 'types.testing.client.ts.txt'), join(directory, 'client.ts'))
  const options = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--noUnusedLocals',
    '--allowImportingTsExtensions',
    '--types',
    'node',
    '--ignoreConfig',
  ]
  const targets = ['--target', 'es2024', '--module', 'nodenext', '--moduleResolution', 'nodenext']
  check(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...options, ...targets, join(directory, 'client.ts')])
  for (const part of [
    '  public: {\n    Tables: {',
    '      empty: {\n        Row: {\n          [_ in never]: never\n        }',
    'home: Database["public"]["CompositeTypes"]["place"] | null',
    'kind: Database["api"]["Enums"]["kind"] | null',
    'foreignKeyName: "todos_owner_fkey"\n            columns: ["owner"]\n            isOneToOne: false',
    '__InternalSupabase: {',
  ])
    assert.ok(text.includes(part), `${part}\n${text}`)
  // No client can embed what lies in another schema.
  assert.ok(!text.includes('things_person_fkey'))
  // Nor can anybody call a function whose arguments have no names, but for the one that takes the body.
  assert.ok(!text.includes('nameless'))
  assert.ok(text.includes('whole: {\n        Args: { "": Json }'), text)
  // A type of a schema that is left out is written in place.
  assert.match(await types('ts'), /kind: "a" \| "b" \| null/)
})

test('Go: structs that vet takes', { skip: missing('go', ['version']) }, async () => {
  mkdirSync(join(directory, 'database'))
  writeFileSync(join(directory, 'go.mod'), 'module example.org/typed\n\ngo 1.21\n')
  writeFileSync(join(directory, 'database/database.go'), await types('go', 'public,api'))
  check('go', ['vet', './...'])
  assert.equal(spawnSync('gofmt', ['-l', '.'], { cwd: directory, encoding: 'utf8' }).stdout, '')
})

test('Python: a module that compiles and runs', { skip: missing('python3', ['--version']) }, async () => {
  writeFileSync(join(directory, 'database.py'), await types('python', 'public,api'))
  check('python3', ['-m', 'compileall', '-q', 'database.py'])
  check('python3', ['-c', "import database; assert 'title' in database.PublicTodosInsert.__required_keys__"])
})

test('what is asked wrongly', async () => {
  const rows: [query: string, status: number][] = [
    ['lang=rust', 400],
    ['schemas=nowhere', 400],
    ['schemas=', 200],
  ]
  for (const [query, status] of rows)
    assert.equal((await server.api('GET', `/projects/${project.ref}/database/types?${query}`)).status, status, query)
  const { body } = await server.api<{ message: string }>('GET', `/projects/${project.ref}/database/types?lang=rust`)
  assert.match(body.message, /querystring\/lang must be ts, go or python/)
  assert.equal((await server.api('GET', `/projects/${project.ref}/database/types`, undefined, { token: null })).status, 401)
  assert.equal((await server.api('GET', `/projects/${'a'.repeat(20)}/database/types`)).status, 404)
})
