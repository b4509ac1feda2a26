/** What can be wrong with the machine and the configuration: seen without a server. */
import { X509Certificate } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, freemem, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { configHere, holderHere } from '../api/local.ts'
import { bytes } from '../terminal/output.ts'
import { bad, type Check, look, ok, skipped, warn } from './check.ts'
import { orphanedProcesses } from './orphans.ts'
import { t } from './words.ts'

type Config = Awaited<ReturnType<typeof configHere>>['config']

const MIB = 1024 * 1024
const DAY = 86_400_000
/** Days before a certificate's end that it should be renewed. */
const SOON = 14
const FEW_UIDS = 1_000
const FEW_FILES = 4_096
const LITTLE_MEMORY = 900 * MIB
/** ms that the clock may lie behind what was written. */
const JUMP = 60_000
const EARLIEST = Date.UTC(2026, 0, 1)
/** f_type of statfs(2): network file systems, whose locks may be none. */
const NETWORK: Readonly<Record<number, string>> = { 26985: 'NFS', 4283649346: 'CIFS', 4266872130: 'SMB', 16914839: '9p' }
const HIDDEN_BY: Readonly<Record<number, string>> = { 16914836: 'tmpfs' }

function platform(): Check {
  const libc = (process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined)?.header?.glibcVersionRuntime
  const what = `${process.platform} ${process.arch}, Node ${process.versions.node}`
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return bad('platform', what, t('unsupported'))
  if (!libc) return bad('platform', t('without glibc', { what }), t('use glibc'))
  return ok('platform', `${what}, glibc ${libc}`)
}

function memory(): Check {
  const says = t('memory', { total: bytes(totalmem()), free: bytes(freemem()), cpus: availableParallelism() })
  return totalmem() < LITTLE_MEMORY ? warn('memory', says, t('more memory')) : ok('memory', says)
}

function uids(): Check {
  if (process.geteuid?.() !== 0) return skipped('uid-map', t('not root'))
  const mapped = readFileSync('/proc/self/uid_map', 'utf8')
    .trim()
    .split('\n')
    .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2] ?? 0), 0)
  if (mapped >= FEW_UIDS) return ok('uid-map', t('uids', { mapped }))
  return warn('uid-map', t('few uids', { mapped }), t('map more'))
}

function openFiles(): Check {
  const [, soft = '0'] = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  if (soft === 'unlimited' || Number(soft) >= FEW_FILES) return ok('open-files', t('open files', { soft }))
  return warn('open-files', t('few files', { soft }), t('raise files'))
}

function clock(): Check {
  const now = new Date()
  if (now.getTime() < EARLIEST) return bad('clock', now.toISOString(), t('clock wrong'))
  return ok('clock', now.toISOString())
}

/** What was written lies in the past, unless the clock was put back. */
function clockOfData(dir: string): Check[] {
  const file = ['metadata.sqlite-wal', 'metadata.sqlite', 'lock'].map((name) => join(dir, name)).find((path) => existsSync(path))
  const ahead = file === undefined ? 0 : statSync(file).mtimeMs - Date.now()
  if (ahead < JUMP) return []
  const says = t('clock back', { minutes: Math.round(ahead / 60_000) })
  return [bad('clock-data', says, t('set clock'))]
}

const existing = (dir: string): string => (existsSync(dir) || dir === dirname(dir) ? dir : existing(dirname(dir)))

function dataDirectory(dir: string): Check[] {
  if (!existsSync(dir)) {
    try {
      accessSync(existing(dir), constants.W_OK)
      return [ok('data', t('data made', { dir }))]
    } catch {
      return [bad('data', t('data not made', { dir }), t('make data'))]
    }
  }
  const { uid } = statSync(dir)
  const me = process.geteuid?.() ?? 0
  if (me !== 0 && uid !== me) return [bad('data', t('data foreign', { dir, uid, me }), t('as owner', { uid }))]
  try {
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    return [bad('data', t('data read-only', { dir }), t('give data'))]
  }
  const keys = join(dir, 'keys')
  const open = existsSync(keys) && (statSync(keys).mode & 0o077) !== 0
  return [ok('data', dir), ...(open ? [bad('keys', t('keys open', { keys }), `chmod 700 ${keys}`)] : [])]
}

function fileSystem(dir: string): Check {
  const at = existing(dir)
  const { type } = statfsSync(at)
  const network = NETWORK[type]
  if (network) return bad('file-system', t('network disk', { at, network }), t('local disk'))
  if (HIDDEN_BY[type]) return warn('file-system', t('in memory', { at, kind: HIDDEN_BY[type] }), t('to a disk'))
  return ok('file-system', t('is local', { at }))
}

function diskSpace({ data, disk }: Config): Check {
  const { bavail, blocks, bsize, ffree, files } = statfsSync(existing(data.dir))
  const [free, total] = [bavail * bsize, blocks * bsize]
  const reserve = Math.min(disk.reserve, (total * disk.share) / 100)
  const says = t('disk', { free: bytes(free), total: bytes(total), reserve: bytes(Math.floor(reserve)) })
  if (free < reserve) return bad('disk', says, t('disk low'))
  if (files > 0 && ffree < files / 50) return bad('disk', t('inodes', { says, inodes: ffree }), t('more inodes'))
  return free < reserve * 2 ? warn('disk', says, t('make room')) : ok('disk', says)
}

function canListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'))
    server.listen(port, host, () => server.close(() => resolve(null)))
  })
}

async function ports({ api, admin, wire }: Config): Promise<Check[]> {
  const { holder } = await holderHere()
  if (holder) return [skipped('ports', t('has ports'))]
  const wanted = [
    ['api', api.host, api.port, 'SOVRABASE_API_PORT'],
    ['admin', admin.host, admin.port, 'SOVRABASE_ADMIN_PORT'],
    ['wire', wire.host, wire.port, 'SOVRABASE_WIRE_PORT'],
  ] as const
  const found: Check[] = []
  for (const [name, host, port, variable] of wanted) {
    if (port === 'auto' || port === 0) continue
    const problem = await canListen(host, port)
    const remedy = problem === 'EADDRINUSE' ? t('port taken', { variable }) : t('port refused', { variable, name })
    found.push(
      problem === null
        ? ok(`port-${name}`, t('port free', { at: `${host}:${port}` }))
        : bad(`port-${name}`, `${host}:${port}: ${problem}`, remedy),
    )
  }
  return found
}

function certificate(name: string, file: string | null): Check[] {
  if (file === null) return []
  const { validTo } = new X509Certificate(readFileSync(file))
  const left = Math.floor((Date.parse(validTo) - Date.now()) / DAY)
  const renew = t('renew')
  if (left < 0) return [bad(name, t('ended', { file, validTo }), renew)]
  return [left < SOON ? warn(name, t('ends', { file, left }), renew) : ok(name, t('days left', { file, left }))]
}

const certificates = ({ api, wire }: Config): Check[] => [
  ...certificate('certificate-api', api.tls.cert_file),
  ...certificate('certificate-wire', wire.tls.cert_file),
]

/** In the order in which one mends. */
export async function machineChecks(): Promise<Check[]> {
  const found = [
    ...(await look('platform', platform)),
    ...(await look('memory', memory)),
    ...(await look('uid-map', uids)),
    ...(await look('open-files', openFiles)),
    ...(await look('clock', clock)),
  ]
  let loaded: Awaited<ReturnType<typeof configHere>>
  try {
    loaded = await configHere()
  } catch (error) {
    return [...found, ...(await look('configuration', () => Promise.reject(error)))]
  }
  const { config, path, warnings } = loaded
  const { dir } = config.data
  const says = path ?? t('no file')
  return [
    ...found,
    warnings.length > 0 ? warn('configuration', `${says}: ${warnings.join('; ')}`, t('correct lines')) : ok('configuration', says),
    ...(await look('data', () => dataDirectory(dir))),
    ...(await look('clock-data', () => clockOfData(dir))),
    ...(await look('file-system', () => fileSystem(dir))),
    ...(await look('disk', () => diskSpace(config))),
    ...(await look('ports', () => ports(config))),
    ...(await look('certificates', () => certificates(config))),
    ...(await look('processes', async () => (existsSync(dir) ? orphanedProcesses(dir, (await holderHere()).holder?.pid ?? null) : []))),
  ]
}
