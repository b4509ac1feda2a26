/** What goes wrong in the first hour, as a table: what it says in both languages, exit code and error code, and what is left behind. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { type Cli, makeCli } from '../../packages/cli/src/cli.testing.ts'
import { main, startServer, type TestServer } from '../node.ts'
import { clusterProcesses } from '../processes.ts'
import { createProject, organisation, type ProjectBody, type TestProject } from '../project.ts'
import { newDataDir } from '../seed.ts'
import { until } from '../until.ts'

const root = resolve(import.meta.dirname, '../..')
const isRoot = process.geteuid?.() === 0
const NOBODY = 65_534
const parent = mkdtempSync(join(tmpdir(), 'sovra-hour-'))
chmodSync(parent, 0o755)
const LOCALES = { en: 'C', fr: 'fr_FR.UTF-8' } as const
type Language = keyof typeof LOCALES

/** Every path below with owner, mode, size and time: what "nothing touched" means. */
function listing(dir: string): string[] {
  if (!existsSync(dir)) return []
  const { uid, mode, size, mtimeMs } = lstatSync(dir)
  const below = lstatSync(dir).isDirectory() ? readdirSync(dir).flatMap((name) => listing(join(dir, name))) : []
  return [`${dir} ${uid} ${mode} ${size} ${mtimeMs}`, ...below]
}

interface Ran {
  readonly code: number | null
  readonly text: string
}

function run(command: readonly string[], env: Record<string, string>, cwd = root): Promise<Ran> {
  const [file = '', ...args] = command
  const child = spawn('setpriv', ['--pdeathsig=KILL', '--', file, ...args], {
    cwd,
    env: { ...process.env, LC_ALL: '', LC_MESSAGES: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return new Promise((done) => child.once('close', (code) => done({ code, text })))
}

const START = [process.execPath, '--no-warnings', main]
const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--']
const serverEnv = (dataDir: string) => ({
  CONFIG_PATH: '/dev/null',
  SOVRABASE_DATA_DIR: dataDir,
  SOVRABASE_API_PORT: '0',
  SOVRABASE_ADMIN_PORT: '0',
  SOVRABASE_WIRE_PORT: '0',
  SOVRABASE_DEMO: 'off',
})

interface Case {
  readonly name: string
  /** Makes what is wrong in the directory; answers how to start and the directory that may be looked at. */
  prepare(dir: string): { readonly command?: readonly string[]; readonly env?: Record<string, string>; readonly cwd?: string }
  readonly exit: number
  readonly code: string
  /** One language where a start takes its time: that every error has its words in both is another test's. */
  readonly says: Readonly<Partial<Record<Language, RegExp>>>
  /** untouched: all is as it was. none: no data directory came to be. Else: what must hold. */
  readonly left: 'untouched' | 'none' | ((dataDir: string) => void)
  readonly skip?: string | false
}

let taken: Server
let used = ''
const port = () => String((taken.address() as { port: number }).port)
const data = (dir: string) => join(dir, 'data')
/** What a first start makes and nobody here writes to: linked, since copying it takes longer than all else. */
const ENGINE = ['engines', 'cache']
const LINKED = [...ENGINE, 'projects']
function withEngine(dir: string, names = ENGINE): void {
  mkdirSync(data(dir), { recursive: true })
  for (const name of names) assert.equal(spawnSync('cp', ['-al', join(used, name), data(dir)]).status, 0)
}
/** A data directory that a server has used. */
function withData(dir: string): void {
  withEngine(dir, LINKED)
  const linked = LINKED.map((name) => join(used, name))
  cpSync(used, data(dir), { recursive: true, preserveTimestamps: true, filter: (path) => !linked.includes(path) })
}
const noProcess = (dataDir: string) => assert.deepEqual(clusterProcesses(dataDir), [])

const CASES: readonly Case[] = [
  {
    name: 'Node is too old',
    prepare(dir) {
      mkdirSync(join(dir, 'scripts'))
      mkdirSync(join(dir, 'bin'))
      cpSync(join(root, 'scripts/node.sh'), join(dir, 'scripts/node.sh'))
      writeFileSync(join(dir, 'bin/node'), '#!/bin/sh\necho v18.19.0\n', { mode: 0o755 })
      return { command: ['/bin/bash', join(dir, 'scripts/node.sh'), 'main.ts'], env: { PATH: `${join(dir, 'bin')}:/usr/bin:/bin` } }
    },
    exit: 2,
    code: 'node_too_old',
    says: {
      en: /needs Node 24\.8 or newer \(found: v18\.19\.0\)\. Run `npm ci`/,
      fr: /demande Node 24\.8 ou plus récent \(trouvé : v18\.19\.0\)/,
    },
    left: 'untouched',
  },
  {
    name: 'no registry can be reached',
    prepare(dir) {
      for (const file of [
        'package.json',
        'package-lock.json',
        'scripts',
        ...['contract', 'server', 'cli'].map((name) => `packages/${name}/package.json`),
      ])
        cpSync(join(root, file), join(dir, file), { recursive: true })
      const npm = { npm_config_registry: 'http://127.0.0.1:9/', npm_config_cache: join(dir, 'cache'), npm_config_fetch_retries: '0' }
      return { command: ['/bin/bash', join(dir, 'scripts/install-dependencies.sh')], env: npm, cwd: dir }
    },
    exit: 1,
    code: 'registry_unreachable',
    says: {
      en: /registry http:\/\/127\.0\.0\.1:9\/ cannot be reached\. Behind a proxy: export HTTPS_PROXY/,
      fr: /est injoignable\. Derrière un proxy : export HTTPS_PROXY/,
    },
    left: 'none',
  },
  {
    name: 'the port is in use',
    prepare(dir) {
      withEngine(dir)
      return { env: { SOVRABASE_API_PORT: port() } }
    },
    exit: 2,
    code: 'port_busy',
    says: {
      en: /The port \d+ of 127\.0\.0\.1 is in use by another program\.\n.*SOVRABASE_API_PORT/,
      fr: /Le port \d+ de 127\.0\.0\.1 est pris par un autre programme\.\n.*SOVRABASE_API_PORT/,
    },
    left: noProcess,
  },
  {
    name: 'the data directory is not writable',
    prepare(dir) {
      mkdirSync(data(dir), { mode: 0o755 })
      return { command: [...asNobody, ...START] }
    },
    exit: 2,
    code: 'directory_unusable',
    says: { en: /cannot be used: EACCES\.\n.*chown -R.*SOVRABASE_DATA_DIR/, fr: /ne peut pas être utilisé : EACCES\.\n.*chown -R/ },
    left: 'untouched',
    skip: !isRoot && 'root makes what others may not write',
  },
  {
    name: 'root starts after a user',
    prepare(dir) {
      mkdirSync(join(data(dir), 'lock'), { recursive: true })
      for (const path of [data(dir), join(data(dir), 'lock')]) chownSync(path, NOBODY, NOBODY)
      return {}
    },
    exit: 2,
    code: 'directory_of_another',
    says: {
      en: /started as nobody; this process is root\. Nothing was touched\.\n.*chown -R root:/,
      fr: /démarré sous nobody ; ce processus tourne sous root\. Rien n’a été touché\.\n.*chown -R root:/,
    },
    left: 'untouched',
    skip: !isRoot && 'root only',
  },
  {
    name: 'a user starts after root',
    prepare(dir) {
      withData(dir)
      return { command: [...asNobody, ...START] }
    },
    exit: 2,
    code: 'directory_of_another',
    says: { en: /started as root; this process is nobody\./, fr: /démarré sous root ; ce processus tourne sous nobody\./ },
    left: 'untouched',
    skip: !isRoot && 'root only',
  },
  {
    name: 'the disk is full',
    prepare(dir) {
      mkdirSync(data(dir))
      const script = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
      return { command: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', data(dir), ...START] }
    },
    exit: 2,
    code: 'disk_full',
    says: { en: /No space left on the device of .*\nFree space/, fr: /Plus de place sur le disque de .*\nLibérez/ },
    left: 'untouched',
    skip: (!isRoot || spawnSync('unshare', ['--mount', 'true']).status !== 0) && 'no mount namespaces here',
  },
  {
    name: 'the file system gives no lock',
    prepare(dir) {
      mkdirSync(join(data(dir), 'lock/lock.db'), { recursive: true })
      return {}
    },
    exit: 2,
    code: 'directory_unusable',
    says: { en: /cannot be used: lock\.db:/, fr: /ne peut pas être utilisé : lock\.db/ },
    left: (dataDir) => assert.equal(existsSync(join(dataDir, 'keys')), false),
  },
  {
    name: 'a key of the configuration is misspelt',
    prepare(dir) {
      writeFileSync(join(dir, 'config.yaml'), 'api:\n  prot: 80\n')
      return { env: { CONFIG_PATH: join(dir, 'config.yaml') } }
    },
    exit: 2,
    code: 'config_invalid',
    says: { en: /config\.yaml:2:3: .*prot.*\n.*port/, fr: /config\.yaml:2:3 : .*prot/ },
    left: 'none',
  },
  {
    name: 'CONFIG_PATH is a folder',
    prepare: (dir) => ({ env: { CONFIG_PATH: dir } }),
    exit: 2,
    code: 'config_unreadable',
    says: { en: /cannot be read: it is a folder/, fr: /ne peut pas être lue/ },
    left: 'none',
  },
  {
    name: 'the database URL is malformed',
    prepare: () => ({ env: { SOVRABASE_DATABASE_TYPE: 'postgresql', SOVRABASE_DATABASE_CONNECTION_STRING: 'localhost' } }),
    exit: 2,
    code: 'config_invalid',
    says: { en: /does not begin as postgres:\/\//, fr: /postgres:\/\// },
    left: 'none',
  },
  {
    name: 'the database does not answer',
    prepare(dir) {
      withEngine(dir)
      const url = 'postgres://a:hidden@127.0.0.1:9/a'
      return { env: { SOVRABASE_DATABASE_TYPE: 'postgresql', SOVRABASE_DATABASE_CONNECTION_STRING: url } }
    },
    exit: 2,
    code: 'metadata_unavailable',
    says: { fr: /ne répond pas : ECONNREFUSED\./ },
    left: noProcess,
  },
  {
    name: 'the root key is missing',
    prepare(dir) {
      withData(dir)
      rmSync(join(data(dir), 'keys/root.key'))
      return {}
    },
    exit: 2,
    code: 'root_key_missing',
    says: {
      en: /The root key \w+ is missing: there is no .*root\.key.*\n.*sovra recover --without-root-key/,
      fr: /La clé racine \w+ manque.*\n.*sovra recover/,
    },
    left: (dataDir) => assert.equal(existsSync(join(dataDir, 'keys/root.key')), false),
  },
  {
    name: 'the root key is another',
    prepare(dir) {
      withData(dir)
      writeFileSync(join(data(dir), 'keys/root.key'), 'ab'.repeat(32))
      return {}
    },
    exit: 2,
    code: 'root_key_wrong',
    says: {
      fr: /a l’identifiant \w+, mais les secrets gardés ont été scellés avec \w+\./,
    },
    left: (dataDir) => assert.equal(readFileSync(join(dataDir, 'keys/root.key'), 'utf8'), 'ab'.repeat(32)),
  },
  {
    name: 'the data is newer than the code',
    prepare(dir) {
      withData(dir)
      const database = new DatabaseSync(join(data(dir), 'metadata.sqlite'))
      database.exec(`insert into migrations values ('9999_of_tomorrow', 1)`)
      database.close()
      return {}
    },
    exit: 2,
    code: 'metadata_newer',
    says: { fr: /version plus récente.*9999_of_tomorrow/ },
    left: noProcess,
  },
]

describe('a start', { concurrency: 3 }, () => {
  before(async () => {
    taken = createServer().listen(0, '127.0.0.1')
    used = join(parent, 'used')
    // A CONFIG_PATH that is not there is no error: it is said.
    const server = await startServer({
      dataDir: newDataDir(used),
      env: { SOVRABASE_DEMO: 'off', SOVRABASE_NODE_NAME: 'hour', CONFIG_PATH: join(parent, 'config.yaml') },
    })
    // What is made only half would be taken away by the next start, and is linked to all others here.
    const inside = (name: string) => readdirSync(join(used, name))
    await until(() => inside('templates').length > 0 && !inside('projects').some((name) => name.startsWith('build-')), 60_000)
    assert.equal(await server.kill(), 0)
    assert.match(server.output(), /There is no .*config\.yaml: defaults and environment variables are used/)
    // What a stop leaves beside the data is of no interest here.
    rmSync(join(used, 'log'), { recursive: true, force: true })
  })
  after(() => {
    taken.close()
    rmSync(parent, { recursive: true, force: true })
  })

  for (const one of CASES)
    test(one.name, { skip: one.skip ?? false }, async () => {
      const each = (Object.entries(one.says) as [Language, RegExp][]).map(async ([language, says]) => {
        const dir = mkdtempSync(join(parent, 'case-'))
        chmodSync(dir, 0o755)
        const { command = START, env = {}, cwd } = one.prepare(dir)
        const before = listing(data(dir))
        const ran = await run(command, { ...serverEnv(data(dir)), LANG: LOCALES[language], ...env }, cwd)
        assert.equal(ran.code, one.exit, ran.text)
        assert.match(ran.text, says)
        assert.match(ran.text, new RegExp(`^code: ${one.code}$`, 'm'))
        assert.doesNotMatch(ran.text, /hidden|\n\s+at /)
        if (typeof one.left === 'function') one.left(data(dir))
        else assert.deepEqual(listing(data(dir)), one.left === 'none' ? [] : before)
      })
      await Promise.all(each)
    })
})

interface CliCase {
  readonly name: string
  readonly args: () => readonly string[]
  readonly env?: Record<string, string>
  readonly exit: number
  readonly code: string
  readonly says: Readonly<Record<Language, RegExp>>
}

describe('beside a running server', () => {
  const home = mkdtempSync(join(tmpdir(), 'sovra-hour-'))
  let server: TestServer
  let cli: Cli
  let shop: TestProject
  let broken: TestProject
  let gone = ''

  before(async () => {
    server = await startServer({ env: { SOVRABASE_DEMO: 'off', SOVRABASE_LIMITS_ORGANISATION_PROJECTS: '2' } })
    cli = makeCli(() => server.dataDir)
    await organisation(server)
    const deleted = await createProject(server, 'gone')
    gone = deleted.ref
    assert.equal((await server.api('DELETE', `/projects/${gone}`)).status, 202)
    shop = await createProject(server, 'shop')
    broken = await createProject(server, 'broken')
    await server.api('POST', `/projects/${broken.ref}/sleep?force=true`)
    const volume = readdirSync(join(server.dataDir, 'projects')).find((name) => {
      const { body } = { body: broken as ProjectBody }
      return body.services.some(({ id }) => id.replaceAll('-', '') === name)
    })
    const control = join(server.dataDir, 'projects', volume ?? '', 'global/pg_control')
    renameSync(control, `${control}.away`)
  })
  after(async () => {
    await server.stop()
    cli.remove()
    rmSync(home, { recursive: true, force: true })
  })

  const TABLE: readonly CliCase[] = [
    {
      name: 'another server on the same data',
      args: () => ['start'],
      exit: 3,
      code: 'already_running',
      says: { en: /Already running: pid \d+, http/, fr: /Déjà en marche : pid \d+, http/ },
    },
    {
      name: 'no server runs',
      args: () => ['projects', 'list'],
      env: { SOVRABASE_DATA_DIR: join(home, 'nothing') },
      exit: 6,
      code: 'server_not_running',
      says: { en: /No server runs on .*\n.*sovra start/, fr: /Aucun serveur ne tourne sur .*\n.*sovra start/ },
    },
    {
      name: 'a project that is not there',
      args: () => ['projects', 'show', 'nowhere'],
      exit: 4,
      code: 'project_unknown',
      says: { en: /There is no project nowhere\./, fr: /Il n’y a pas de projet nowhere\./ },
    },
    {
      name: 'a deleted project',
      args: () => ['projects', 'wake', gone],
      exit: 1,
      code: 'project_deleted',
      says: { en: /The project is deleted\.\n.*sovra projects restore/, fr: /Le projet est supprimé\.\n.*sovra projects restore/ },
    },
    {
      name: 'a project that sleeps and is broken',
      args: () => ['projects', 'wake', 'broken'],
      exit: 1,
      code: 'project_broken',
      says: {
        en: /did not start;[\s\S]*last words of its PostgreSQL:[\s\S]*pg_control/,
        fr: /n’a pas démarré ;[\s\S]*derniers mots de son PostgreSQL[\s\S]*pg_control/,
      },
    },
    {
      name: 'over the quota of the organisation',
      args: () => ['projects', 'create', 'one-more', '--org', 'acme'],
      exit: 1,
      code: 'quota_exceeded',
      says: { en: /may have 2 projects and has as many\./, fr: /peut avoir 2 projets et les a déjà\./ },
    },
  ]

  for (const { name, args, env = {}, exit, code, says } of TABLE)
    test(name, async () => {
      for (const [language, locale] of Object.entries(LOCALES) as [Language, string][]) {
        const ran = await cli.run(args(), { env: { LANG: locale, LC_ALL: '', LC_MESSAGES: '', ...env } })
        assert.equal(ran.code, exit, ran.err + ran.out)
        assert.match(ran.err, says[language])
        const asJson = await cli.run([...args(), '--json'], { env: { LANG: locale, LC_ALL: '', LC_MESSAGES: '', ...env } })
        assert.equal(asJson.code, exit)
        if (args()[0] === 'start') assert.match(asJson.err, new RegExp(`^code: ${code}$`, 'm'))
        else assert.equal((JSON.parse(asJson.err) as { code: string }).code, code)
      }
      // Its neighbour is not touched.
      assert.equal((await server.api<ProjectBody>('GET', `/projects/${shop.ref}`)).status, 200)
      assert.deepEqual(await shop.sql('select 1 as one'), [{ one: 1 }])
    })
})
