import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { isSovraError } from './base/errors.ts'
import { keysOf } from './base/keys.ts'
import { allowsKeyless, ConfigSchema, hasPathForm, isLoopbackInstall, loadConfig, publicUrl, variableFor } from './config.ts'

const cwd = mkdtempSync(join(tmpdir(), 'sovra-config-'))
after(() => rmSync(cwd, { recursive: true, force: true }))
let count = 0

/** Reads this text as config.yaml of a folder of its own. */
function load(yaml: string | null, env: NodeJS.ProcessEnv = {}) {
  const folder = join(cwd, String(count++))
  mkdirSync(folder)
  if (yaml !== null) writeFileSync(join(folder, 'config.yaml'), yaml)
  return { folder, ...loadConfig({ cwd: folder, env }) }
}

function refused(yaml: string | null, env: NodeJS.ProcessEnv = {}): { message: string; hint: string } {
  try {
    load(yaml, env)
  } catch (error) {
    assert.ok(isSovraError(error, 'config_invalid') || isSovraError(error, 'config_unreadable'), String(error))
    return { message: error.message, hint: error.hint }
  }
  return assert.fail('it was accepted')
}

describe('defaults', () => {
  test('no file and no variable: every default, whole', () => {
    const { config, path, warnings, folder, where } = load(null)
    assert.equal(path, null)
    assert.deepEqual(warnings, [])
    assert.equal(where('api.port'), 'default')
    const MiB = 1024 ** 2
    assert.deepEqual(config, {
      api: {
        host: '127.0.0.1',
        port: 8080,
        public_url: null,
        base_domain: null,
        path_form: 'auto',
        allow_keyless: 'auto',
        trusted_proxies: [],
        cors: { allowed_origins: ['*'] },
        tls: { cert_file: null, key_file: null },
      },
      jwt: { secret: null, expiration: 86_400_000 },
      orchestrator: { type: 'embedded', docker_host: null },
      database: { type: 'sqlite', connection_string: null },
      data: { dir: join(folder, 'data') },
      node: { name: null, region: 'local' },
      admin: { host: '127.0.0.1', port: 'auto' },
      wire: { host: '127.0.0.1', port: 'auto', tls: { cert_file: null, key_file: null } },
      engines: { postgres: { bin_dir: null, major: null, pool: 0 } },
      backup: { dir: null, archive: null, every: 86_400_000, recipients: [], keep: 7, keep_for: 30 * 86_400_000, snapshots: 14 },
      sleep_after: 300_000,
      limits: {
        headers: 65_536,
        body: { rest: 10 * MiB, control: MiB, auth: MiB },
        timeouts: { headers: 30_000, body: 900_000, idle: 75_000, drain: 30_000 },
        rates: { project_requests: 0, failed_sign_ins: 30, wakes: 10, failed_wire_sign_ins: 10 },
        awake: { clusters: 200, memory: 0, reserve: 256 * MiB, queue: 1000, patience: 30_000 },
        wire: { connections: 2000, startup: 10_000 },
        watch: { statements: 2000, disk: 10_000, memory: 30_000 },
        project: {
          memory: 512 * MiB,
          disk: 1024 * MiB,
          temp_files: 1024 * MiB,
          connections: 30,
          statement_timeout: 15_000,
          wire_statement_timeout: 600_000,
        },
        organisation: { projects: 0, memory: 0, disk: 0, connections: 0 },
        retention: {
          events: 400 * 86_400_000,
          jobs: 7 * 86_400_000,
          logs: 14 * 86_400_000,
          idempotency: 86_400_000,
          deleted_projects: 14 * 86_400_000,
        },
      },
      network: { allow: [], ca_file: null, proxy: null },
      auth: { leaked_passwords: null, mail_languages: null },
      disk: { reserve: 1024 ** 3, share: 5, cold: { after: 0, place: null } },
      log: {
        level: 'info',
        format: 'auto',
        stdout: 'on',
        addresses: 'truncated',
        file_size: 32 * 1024 ** 2,
        total_size: 512 * 1024 ** 2,
        otlp: { url: null, headers: null, ca_file: null },
      },
    })
  })

  test('an empty file, one of comments and empty sections are as none', () => {
    const none = load(null).config
    for (const yaml of ['', '# nothing\n', '---\n', 'api:\nlimits:\n  body:\n', 'api:\n  host:\n', '\uFEFF']) {
      const { config } = load(yaml)
      assert.deepEqual({ ...config, data: null }, { ...none, data: null })
    }
  })

  test('every key has a description, a default and a variable of its own', () => {
    const keys = keysOf(ConfigSchema, 'SOVRABASE_')
    assert.equal(new Set(keys.map((key) => key.variable)).size, keys.length)
    for (const { path, key } of keys) {
      assert.ok(key.description?.endsWith('.'), `${path} needs a description`)
      assert.notEqual(key.default, undefined, path)
    }
    assert.equal(variableFor('api.public_url'), 'SOVRABASE_API_PUBLIC_URL')
  })
})

describe('values', () => {
  test('a file with every kind of value', () => {
    const { config, where, folder } = load(`api:
  port: 9000
  allow_keyless: false
  trusted_proxies: [10.0.0.0/8, '::1']
  cors:
    allowed_origins:
      - https://app.example.org
data:
  dir: elsewhere
wire:
  port: 6432
sleep_after: off
limits:
  project:
    memory: off
    disk: 1.5 GiB
  timeouts:
    idle: 1m30s
network:
  ca_file: /etc/ca.pem
log:
  level: debug
`)
    assert.equal(config.api.port, 9000)
    assert.equal(config.api.allow_keyless, false)
    assert.deepEqual(config.api.trusted_proxies, ['10.0.0.0/8', '::1'])
    assert.deepEqual(config.api.cors.allowed_origins, ['https://app.example.org'])
    assert.equal(config.data.dir, join(folder, 'elsewhere'))
    assert.equal(config.wire.port, 6432)
    assert.equal(config.sleep_after, 0)
    assert.equal(config.limits.project.memory, 0)
    assert.equal(config.limits.project.disk, 1.5 * 1024 ** 3)
    assert.equal(config.limits.timeouts.idle, 90_000)
    assert.equal(config.network.ca_file, '/etc/ca.pem')
    assert.equal(config.log.level, 'debug')
    assert.equal(where('api.port'), 'config.yaml:2:9')
  })

  test('variables win over the file; empty ones do not count', () => {
    const { config, where, folder } = load('api:\n  port: 9000\n  host: 0.0.0.0\n', {
      SOVRABASE_API_PORT: '9001',
      SOVRABASE_API_HOST: '',
      SOVRABASE_DATABASE_TYPE: 'postgresql',
      SOVRABASE_DATABASE_CONNECTION_STRING: 'postgres://u:p@localhost/x',
      SOVRABASE_DATA_DIR: 'd',
      SOVRABASE_API_TRUSTED_PROXIES: '10.0.0.0/8, 192.168.0.0/16',
      SOVRABASE_API_PATH_FORM: 'TRUE',
      SOVRABASE_ADMIN_PORT: 'auto',
      SOVRABASE_SLEEP_AFTER: '10m',
    })
    assert.equal(config.api.port, 9001)
    assert.equal(where('api.port'), 'SOVRABASE_API_PORT')
    assert.equal(config.api.host, '0.0.0.0')
    assert.equal(config.database.type, 'postgresql')
    assert.equal(config.data.dir, join(folder, 'd'))
    assert.deepEqual(config.api.trusted_proxies, ['10.0.0.0/8', '192.168.0.0/16'])
    assert.equal(config.api.path_form, true)
    assert.equal(config.admin.port, 'auto')
    assert.equal(config.sleep_after, 600_000)
  })

  test('CONFIG_PATH: relative paths count from the folder of the file; one that is not there is a warning', () => {
    const folder = mkdtempSync(join(cwd, 'etc-'))
    writeFileSync(join(folder, 'sovra.yaml'), 'data:\n  dir: ../data\n')
    chmodSync(join(folder, 'sovra.yaml'), 0o444)
    const there = load(null, { CONFIG_PATH: join(folder, 'sovra.yaml') })
    assert.equal(there.config.data.dir, join(cwd, 'data'))
    assert.equal(there.path, join(folder, 'sovra.yaml'))
    const missing = load(null, { CONFIG_PATH: '/nowhere/config.yaml' })
    assert.equal(missing.path, null)
    assert.match(missing.warnings[0] ?? '', /There is no \/nowhere\/config\.yaml/)
  })

  test('a variable that nearly is one of ours is warned of', () => {
    const { warnings } = load(null, { SOVRABASE_API_PROT: '1', SOVRABASE_ROOT_KEY_FILE: 'x', SOMETHING: '1' })
    assert.deepEqual(warnings, ['The environment variable SOVRABASE_API_PROT is not known; SOVRABASE_API_PORT is.'])
  })
})

describe('refusals name the place and the remedy', () => {
  const rows: [name: string, yaml: string, message: RegExp, hint: RegExp][] = [
    ['a tab', 'api:\n\tport: 1\n', /^config\.yaml:2:1: is not valid YAML/, /Look at indentation|Correct these/],
    ['a lost bracket', 'api:\n  trusted_proxies: [10.0.0.0/8\nlog: {}\n', /^config\.yaml:3:\d+: is not valid YAML/, /./],
    ['the same key twice', 'api:\n  port: 1\n  port: 2\n', /^config\.yaml:3:3: .*unique/, /./],
    ['a key that is not known', 'api:\n  prot: 1\n', /^config\.yaml:2:3: unknown key api\.prot\.$/, /nearest known key is api\.port;/],
    ['a section that is not known', 'databse:\n  type: sqlite\n', /^config\.yaml:1:1: unknown key databse\.$/, /is database;/],
    ['a key in the wrong place', 'port: 1\n', /^config\.yaml:1:1: unknown key port\.$/, /is api\.port;/],
    ['text for a number', 'api:\n  port: "8080"\n', /^config\.yaml:2:9: api\.port must be a whole number \(not "8080"\)/, /without quotes/],
    ['too large a number', 'api:\n  port: 70000\n', /api\.port must be a whole number from 0 to 65535 \(not 70000\)/, /./],
    ['a fraction', 'api:\n  port: 80.5\n', /api\.port must be a whole number/, /./],
    ['no unit', 'jwt:\n  expiration: 24\n', /^config\.yaml:2:15: jwt\.expiration must be a duration \(not 24\)/, /unit: 30s, 5m/],
    ['a session of no time', 'jwt:\n  expiration: 0s\n', /jwt\.expiration must be 1m at least \(not "0s"\)/, /./],
    ['too little memory', 'limits:\n  project:\n    memory: 8MiB\n', /limits\.project\.memory must be 32MiB at least/, /./],
    ['a wrong unit', 'limits:\n  headers: 64KB\n', /limits\.headers must be a size/, /512KiB/],
    ['off where it cannot be', 'jwt:\n  expiration: off\n', /jwt\.expiration must be a duration \(not "off"\)/, /./],
    ['yes for true', 'api:\n  path_form: yes\n', /api\.path_form must be true, false, auto \(not "yes"\)/, /true or false/],
    ['a word that is none of the choices', 'log:\n  level: loud\n', /log\.level must be one of fatal, .* \(not "loud"\)/, /Write one of/],
    ['a bad range in a list', 'network:\n  allow: [10.0.0.0/8, 10.0.0.0/99]\n', /network\.allow entry 2 must be an address or a CIDR/, /./],
    ['text for a list', 'network:\n  allow: 10.0.0.0/8\n', /network\.allow must be a list/, /\[a, b\]/],
    ['a URL with a path', 'api:\n  public_url: https://a.example/x\n', /api\.public_url must be a URL without path/, /./],
    ['a domain with a port', 'api:\n  base_domain: example.org:80\n', /api\.base_domain must be a domain/, /./],
    ['a value for a section', 'api: 8080\n', /^config\.yaml:1:6: api must hold keys with values/, /indented/],
    ['a list for the file', '- a\n', /^config\.yaml:1:1: the file must hold keys with values/, /./],
    [
      'a driver of later',
      'orchestrator:\n  type: docker\n',
      /^config\.yaml:2:9: orchestrator\.type docker has no driver yet/,
      /`type: embedded` in that line/,
    ],
    [
      'a database without address',
      'database:\n  type: mysql\n',
      /^config\.yaml:2:9: database\.type mysql needs database\.connection_string/,
      /SOVRABASE_DATABASE_CONNECTION_STRING/,
    ],
    [
      'half of TLS',
      'api:\n  tls:\n    cert_file: a.pem\n',
      /^config\.yaml:3:16: api\.tls\.cert_file is given without api\.tls\.key_file/,
      /both/,
    ],
  ]
  for (const [name, yaml, message, hint] of rows) {
    test(name, () => {
      const got = refused(yaml)
      assert.match(got.message, message)
      assert.match(got.hint, hint)
    })
  }

  test('several at once are all told', () => {
    const { message, hint } = refused('api:\n  prot: 1\n  port: x\nlog:\n  level: 7\n', { SOVRABASE_WIRE_PORT: '-1' })
    assert.deepEqual(
      message.split('\n').map((line) => line.split(' ')[0]),
      ['config.yaml:2:3:', 'config.yaml:3:9:', 'config.yaml:5:10:', 'SOVRABASE_WIRE_PORT:'],
    )
    assert.match(hint, /these 4 places/)
  })

  test('secrets are never repeated', () => {
    const canary = 'canary-secret'
    assert.ok(!JSON.stringify(refused(`jwt:\n  secret: ${canary}\n`)).includes(canary))
    assert.ok(!JSON.stringify(refused(`jwt:\n  secret: [${canary}]\n`)).includes(canary))
    const uri = refused(`database:\n  type: mysql\n  connection_string: postgres://u:${canary}@h/d\n`)
    assert.ok(!JSON.stringify(uri).includes(canary))
  })

  test('by a variable: its name, and the one to set', () => {
    const { message, hint } = refused(null, { SOVRABASE_ORCHESTRATOR_TYPE: 'kubernetes' })
    assert.match(message, /^SOVRABASE_ORCHESTRATOR_TYPE: orchestrator\.type kubernetes has no driver yet/)
    assert.match(hint, /SOVRABASE_ORCHESTRATOR_TYPE=embedded/)
    assert.match(refused(null, { SOVRABASE_API_PORT: 'http' }).message, /^SOVRABASE_API_PORT: api\.port must be a whole number/)
  })

  test('a file that cannot be read', () => {
    const folder = mkdtempSync(join(cwd, 'folder-'))
    assert.match(refused(null, { CONFIG_PATH: folder }).message, /it is a folder \(Docker/)
    symlinkSync('loop', join(folder, 'loop'))
    assert.match(refused(null, { CONFIG_PATH: join(folder, 'loop') }).message, /ELOOP/)
  })
})

describe('what follows from the configuration', () => {
  const rows: [yaml: string, loopback: boolean, keyless: boolean, pathForm: boolean, url: string][] = [
    ['', true, true, true, 'http://127.0.0.1:8080'],
    ['api: { host: 0.0.0.0 }', false, false, true, 'http://localhost:8080'],
    ['api: { host: "::1" }', true, true, true, 'http://[::1]:8080'],
    ['api: { public_url: "https://a.example.org/" }', false, false, true, 'https://a.example.org'],
    ['api: { base_domain: example.org }', false, false, false, 'http://127.0.0.1:8080'],
    ['api: { base_domain: apps.localhost }', true, true, false, 'http://127.0.0.1:8080'],
    ['api: { host: 0.0.0.0, allow_keyless: true, base_domain: example.org, path_form: true }', false, true, true, 'http://localhost:8080'],
    ['api: { tls: { cert_file: a, key_file: b } }', true, true, true, 'https://127.0.0.1:8080'],
  ]
  for (const [yaml, loopback, keyless, pathForm, url] of rows) {
    test(yaml || 'nothing given', () => {
      const { config } = load(yaml)
      assert.equal(isLoopbackInstall(config), loopback)
      assert.equal(allowsKeyless(config), keyless)
      assert.equal(hasPathForm(config), pathForm)
      assert.equal(publicUrl(config, 8080), url)
    })
  }
})
