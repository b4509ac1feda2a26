import { isIP } from 'node:net'
import { MAJORS } from '@sovrabase/contract/majors'
import type { Static } from 'typebox'
import { configError, type PlacedProblem } from './base/config-file.ts'
import { readConfigTree } from './base/config-source.ts'
import { FORMATS } from './base/formats.ts'
import {
  bytes,
  bytesOrOff,
  choice,
  duration,
  durationOrOff,
  list,
  optionalChoice,
  optionalPath,
  optionalPlace,
  optionalText,
  path,
  portOrAuto,
  section,
  switchOrAuto,
  text,
  variableOf,
  whole,
} from './base/keys.ts'
import { ADDRESS_MODES, LOG_LEVELS } from './base/log-levels.ts'

const tls = (of: string) =>
  section(`TLS of ${of}. Both files, or none; read again when they change.`, {
    cert_file: optionalPath('Certificate chain, PEM.'),
    key_file: optionalPath('Private key, PEM.'),
  })

const port = (value: number, description: string) => whole(value, description, { maximum: 65_535 })

const api = section('The HTTP listener: control API, gateway and pages.', {
  host: text('127.0.0.1', { format: 'host', description: 'Address to listen on. 0.0.0.0 or :: for all; a container needs that.' }),
  port: port(8080, 'Port to listen on; 0: any free one.'),
  public_url: optionalText({
    format: 'origin',
    description: 'URL under which people reach this server: links, issuers, redirects. Without it, made from host and port.',
  }),
  base_domain: optionalText({ format: 'domain', description: 'Projects answer on <ref>.<this domain>; needs a wildcard DNS record.' }),
  path_form: switchOrAuto('Whether projects also answer on /p/<ref>. auto: while there is no base_domain.'),
  allow_keyless: switchOrAuto(
    'Whether requests without a key run as `anon`. auto: only where the server is reached by loopback addresses.',
  ),
  trusted_proxies: list([], {
    format: 'range',
    description:
      'Proxies in front, as addresses or CIDR ranges. X-Forwarded-* is believed from these only; the right-most other address is the caller.',
  }),
  cors: section('Cross-origin requests of browsers.', {
    allowed_origins: list(['*'], { format: 'origin-or-any', description: 'Origins whose pages may call the APIs of projects.' }),
  }),
  tls: tls('the HTTP listener (or let a proxy do it)'),
})

const orchestrator = section('Where services run.', {
  type: choice(['embedded', 'docker', 'kubernetes', 'external'], 'embedded', 'Only embedded can be used yet.'),
  docker_host: optionalText({ description: 'Address of the Docker engine, for the type docker.' }),
})

const database = section('The metadata database: organisations, projects, keys. Not the data of projects.', {
  type: choice(
    ['sqlite', 'postgresql', 'mysql'],
    'sqlite',
    'sqlite lies in the data directory; several nodes share a postgresql or mysql.',
  ),
  connection_string: optionalText({
    'x-secret': true,
    description: 'For postgresql (postgres://user:password@host:5432/name) and mysql (mysql://user:password@host:3306/name).',
  }),
})

const limits = section('Limits. They belong to a node, or to one project where the name says so.', {
  headers: bytes('64KiB', 'Request line and headers.'),
  body: section('Largest request bodies.', {
    rest: bytes('10MiB', 'Data API.'),
    control: bytes('1MiB', 'Control API.'),
    auth: bytes('1MiB', 'Auth API.'),
  }),
  timeouts: section('Time-outs of HTTP connections.', {
    headers: duration('30s', 'Until the headers of a request are there.'),
    body: durationOrOff('15m', 'Until a whole request is there.'),
    idle: duration('75s', 'How long a connection without a request is kept.'),
    drain: duration('30s', 'How long running requests may take at shutdown.'),
  }),
  rates: section('How often something may be done.', {
    project_requests: whole(0, 'Requests a second to one project, on each node; 0: no limit.'),
    failed_sign_ins: whole(30, 'Failed sign-ins of members an hour, by address.', { minimum: 1 }),
    wakes: whole(10, 'Wakes of sleeping projects an hour by keyless requests and public doors, by address.', { minimum: 1 }),
    failed_wire_sign_ins: whole(10, 'Failed sign-ins an hour on the wire protocol, by address.', { minimum: 1 }),
  }),
  awake: section('Clusters awake at once on this node. At a limit the one idle longest is put to sleep first.', {
    clusters: whole(200, 'Clusters; 0: no limit.'),
    memory: bytesOrOff('off', 'Memory of all awake clusters together.'),
    reserve: bytesOrOff(
      '256MiB',
      'Memory that must stay available on the machine, and within the memory limit of the container or unit, else no further cluster is woken.',
    ),
    queue: whole(1000, 'Callers that wait for a place; more are answered 503.'),
    patience: duration('30s', 'How long a caller waits for a place and for the wake.'),
  }),
  watch: section('How often the limits of what runs are held against it.', {
    statements: duration('2s', 'Statements and transactions over their time, on the wire protocol.'),
    disk: duration('10s', 'Disk of a project in use, against its quota.'),
    memory: duration('30s', 'Memory of awake clusters, where limits.awake.memory is set.'),
  }),
  wire: section('The wire listener.', {
    connections: whole(2000, 'Connections at once, of all projects.', { minimum: 1 }),
    startup: duration('10s', 'Until a client has sent its start-up packet and signed in, without the wake.'),
  }),
  project: section('Defaults of each project; a service may say otherwise in its spec.', {
    memory: bytesOrOff('512MiB', 'Memory of the whole cluster; 32MiB at least.', '32MiB'),
    disk: bytesOrOff('1GiB', 'Disk quota.'),
    temp_files: bytes('1GiB', 'Temporary files of one connection.'),
    connections: whole(30, 'Connections by the wire protocol.', { minimum: 2, maximum: 1000 }),
    statement_timeout: durationOrOff('15s', 'One statement of a request on the APIs.'),
    wire_statement_timeout: durationOrOff('10m', 'One statement on the wire protocol.'),
  }),
  organisation: section('Most that the projects of an organisation may have; `quotas` of one organisation go before.', {
    projects: whole(0, 'Projects; 0: no limit.'),
    memory: bytesOrOff('off', 'Memory of one cluster.'),
    disk: bytesOrOff('off', 'Disk quota of one project.'),
    connections: whole(0, 'Connections by the wire protocol to one project; 0: no limit.'),
  }),
  retention: section('How long things are kept.', {
    events: duration('400d', 'The audit log.'),
    jobs: duration('7d', 'Finished jobs.'),
    logs: duration('14d', 'Finished files of the log of the server.'),
    idempotency: duration('24h', 'Answers kept for Idempotency-Key.'),
    deleted_projects: duration('14d', 'Deleted projects, until they are physically removed.'),
  }),
})

/** config.yaml: every key with its default and meaning. Durations are ms, sizes bytes, paths absolute once read. */
export const ConfigSchema = section('Configuration of a Sovrabase server.', {
  api,
  jwt: section('Sessions of members (never API keys or tokens of users).', {
    secret: optionalText({
      minLength: 32,
      'x-secret': true,
      description:
        'Signs sessions of members. Changing it signs all members out and breaks no project. Without it, made once in <data>/keys/jwt.secret.',
    }),
    expiration: duration('24h', 'How long a session of a member lasts; 1m at least.', '1m'),
  }),
  orchestrator,
  database,
  data: section('What the server keeps on disk.', {
    dir: path('data', 'Data directory: projects, keys, SQLite. Its folder keys/ needs a backup of its own.'),
  }),
  node: section('This server process.', {
    name: optionalText({
      format: 'label',
      description: 'Name of this node; never two at once. Without it, made once in the data directory.',
    }),
    region: text('local', { format: 'label', description: 'Region that this node belongs to.' }),
  }),
  admin: section('Metrics and diagnostics. Not for the public.', {
    host: text('127.0.0.1', { format: 'host', description: 'Address to listen on.' }),
    port: portOrAuto('Port to listen on; 0: any free one. auto: 9090, or the next free one.'),
  }),
  wire: section("PostgreSQL's own protocol, for psql, ORMs and migration tools.", {
    host: text('127.0.0.1', { format: 'host', description: 'Address to listen on.' }),
    port: portOrAuto('Port to listen on; 0: any free one. auto: chosen once at the first start, 5432 if it is free, else 6432 and up.'),
    tls: tls('the wire listener'),
  }),
  engines: section('Engines.', {
    postgres: section('PostgreSQL.', {
      bin_dir: optionalPath("Folder of postgres and initdb, to use a distribution's PostgreSQL instead of the bundled one."),
      major: optionalChoice(
        MAJORS,
        'Major version of new projects. Without it that of the bundled PostgreSQL, or of bin_dir; a former one needs `make majors`.',
      ),
      pool: whole(0, 'Clusters kept prepared, so that a project is created faster; each takes its disk space.', { maximum: 100 }),
    }),
  }),
  backup: section('Backups that the server makes by itself: docs/backup.md.', {
    dir: optionalPlace('Directory for them, best on another disk or machine, or s3://bucket/prefix. Without it none are made.'),
    archive: optionalPlace('Where the archives for points in time lie: a directory, or s3://bucket/prefix.'),
    every: duration('24h', 'How often.'),
    recipients: list([], {
      format: 'age',
      description: 'Public keys (age1…) that they are sealed for. The private keys must not lie on this machine.',
    }),
    keep: whole(7, 'So many of the newest stay in any case.', { minimum: 1 }),
    keep_for: duration('30d', 'Of the others, those that are older are removed.'),
    snapshots: whole(
      14,
      'Copies of the metadata in <data>/snapshots: one a day, and one before each change of its schema; 0: that one alone.',
      {
        maximum: 1000,
      },
    ),
  }),
  sleep_after: durationOrOff('5m', 'A project without a request or statement for so long sleeps: no process, no memory. off: never.'),
  limits,
  disk: section(
    'The disk of the data. Below its reserve nothing new and nothing large is taken (`disk_low`); reading and small writes go on.',
    {
      reserve: bytesOrOff('1GiB', 'Room that must stay free.'),
      share: whole(5, 'Per cent of the disk that the reserve is at most.', { minimum: 1, maximum: 100 }),
      cold: section('Projects that sleep for long are packed, and unpacked by their next wake: docs/disk.md.', {
        after: durationOrOff('off', 'How long one must have slept.'),
        place: optionalPlace('Where packs lie: s3://bucket/prefix, or a directory. Without it <data>/cold.'),
      }),
    },
  ),
  network: section('Requests of the server to addresses that people of a project set.', {
    allow: list([], { format: 'range', description: 'Private addresses or CIDR ranges that such requests may reach.' }),
    ca_file: optionalPath('Further certificate authorities, PEM.'),
    proxy: optionalText({ format: 'proxy', description: 'HTTP proxy that such requests pass.' }),
  }),
  auth: section('Users of projects, and members.', {
    leaked_passwords: optionalPath(
      'A sorted file of SHA-1 hashes, as haveibeenpwned.com gives it out: the setting `password_leaked` looks there, and no request leaves.',
    ),
    mail_languages: optionalPath(
      'Further languages of mails, or other words in those that are there: a folder for each (de/invite.yaml …), read at the start.',
    ),
  }),
  log: section('Log of the server: lines of JSON in <data>/log, and on standard output.', {
    level: choice(LOG_LEVELS, 'info', 'Least important lines that are written.'),
    format: choice(
      ['auto', 'pretty', 'json'],
      'auto',
      'On standard output: pretty is for people, json for machines. auto: pretty in a terminal.',
    ),
    stdout: choice(['on', 'off'], 'on', 'Whether lines go to standard output too.'),
    addresses: choice(
      ADDRESS_MODES,
      'truncated',
      "How much of a caller's address is written down: in the log, in events, and with sessions and audit entries of realms. truncated: the /24, or the /48 of IPv6.",
    ),
    file_size: bytes(
      '32MiB',
      'One file; then, and at a new day, the next is begun. limits.retention.logs says how long finished ones are kept.',
    ),
    total_size: bytes('512MiB', 'All finished files together; the oldest is removed first.'),
    otlp: section('Export of the log to an OpenTelemetry collector, by OTLP over HTTP with JSON.', {
      url: optionalText({
        format: 'url',
        description: 'Where it goes, with its path: http://127.0.0.1:4318/v1/logs. Without it nothing is sent.',
      }),
      headers: optionalText({ 'x-secret': true, description: 'Headers of it, as name=value,name=value with values percent-encoded.' }),
      ca_file: optionalPath('Further certificate authorities for it, PEM.'),
    }),
  }),
})

export type Config = Static<typeof ConfigSchema>

export const VARIABLE_PREFIX = 'SOVRABASE_'

/** The variable that sets a key: 'api.port' → 'SOVRABASE_API_PORT'. */
export const variableFor = (key: string): string => variableOf(VARIABLE_PREFIX, key)

export interface LoadedConfig {
  readonly config: Config
  /** The file that was read; null: none. */
  readonly path: string | null
  /** For the operator, to be logged. */
  readonly warnings: readonly string[]
  /** Where a key comes from: 'config.yaml:3:9', a variable's name, or 'default'. */
  where(key: string): string
}

export interface LoadOptions {
  /** Default: `CONFIG_PATH`, else config.yaml in the working directory if it is there. */
  readonly path?: string
  readonly env?: NodeJS.ProcessEnv
  /** Default: the working directory. */
  readonly cwd?: string
}

/** Throws `config_invalid` with every problem and its place, or `config_unreadable`. */
export function loadConfig(options: LoadOptions = {}): LoadedConfig {
  const { path, tree } = readConfigTree({ ...options, schema: ConfigSchema, prefix: VARIABLE_PREFIX, formats: FORMATS })
  if (tree.problems.length > 0) throw configError(tree.problems)
  const config = tree.values as Config
  const problems = crossCheck(config, tree.where)
  if (problems.length > 0) throw configError(problems)
  return { config, path, warnings: tree.warnings, where: tree.where }
}

const SCHEMES = { postgresql: /^postgres(?:ql)?:\/\//, mysql: /^(?:mysql|mariadb):\/\// } as const

function crossCheck(config: Config, where: (key: string) => string): PlacedProblem[] {
  const problems: PlacedProblem[] = []
  const report = (key: string, problem: string, remedy: string) =>
    problems.push({ where: where(key), problem: `${key} ${problem}`, remedy })
  const { type } = config.orchestrator
  if (type !== 'embedded') {
    const place = where('orchestrator.type')
    const line = place === variableFor('orchestrator.type') ? `${place}=embedded` : '`type: embedded` in that line, below `orchestrator:`'
    report('orchestrator.type', `${type} has no driver yet`, `Write ${line}.`)
  }
  if (config.database.type !== 'sqlite') {
    const text = config.database.connection_string
    const wanted = config.database.type === 'mysql' ? 'mysql://…' : 'postgres://…'
    if (text === null)
      report(
        'database.type',
        `${config.database.type} needs database.connection_string`,
        `Give ${variableFor('database.connection_string')} or the key: ${wanted}`,
      )
    else if (!SCHEMES[config.database.type].test(text))
      report('database.connection_string', `does not begin as ${wanted}`, 'Correct it, or database.type.')
  }
  if (config.backup.dir !== null && config.backup.recipients.length === 0)
    report('backup.dir', 'needs backup.recipients', 'Give a public key: `age-keygen` makes one; keep its private key elsewhere.')
  for (const [name, { cert_file, key_file }] of [
    ['api.tls', config.api.tls],
    ['wire.tls', config.wire.tls],
  ] as const) {
    if (cert_file !== null && key_file === null) report(`${name}.cert_file`, `is given without ${name}.key_file`, 'Give both, or none.')
    if (cert_file === null && key_file !== null) report(`${name}.key_file`, `is given without ${name}.cert_file`, 'Give both, or none.')
  }
  return problems
}

/** 127.0.0.0/8, ::1 or localhost. */
export const isLoopback = (host: string): boolean =>
  /^127\./.test(host) || host === '::1' || host === 'localhost' || host.endsWith('.localhost')

/** Whether only this machine reaches the server: no public URL, no base domain, a loopback listener. */
export function isLoopbackInstall({ api }: Config): boolean {
  const host = api.public_url === null ? api.host : new URL(api.public_url).hostname
  return isLoopback(api.host) && isLoopback(host) && (api.base_domain === null || isLoopback(api.base_domain))
}

/** `api.allow_keyless` in force. */
export const allowsKeyless = (config: Config): boolean =>
  config.api.allow_keyless === 'auto' ? isLoopbackInstall(config) : config.api.allow_keyless

/** `api.path_form` in force. */
export const hasPathForm = ({ api }: Config): boolean => (api.path_form === 'auto' ? api.base_domain === null : api.path_form)

/** Origin under which people reach the server, without a slash at its end. `port`: the one that is listened on. */
export function publicUrl({ api }: Config, port: number): string {
  if (api.public_url !== null) return new URL(api.public_url).origin
  const scheme = api.tls.cert_file === null ? 'http' : 'https'
  const everywhere = api.host === '0.0.0.0' || api.host === '::'
  const host = everywhere ? 'localhost' : isIP(api.host) === 6 ? `[${api.host}]` : api.host
  return new URL(`${scheme}://${host}:${port}`).origin
}
