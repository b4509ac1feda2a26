import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Space } from './base/disk-space.ts'
import type { BackupPlace } from './control/backups/place.ts'
import type { Control } from './control/context.ts'
import type { Foundation } from './foundation.ts'
import type { Addressing } from './gateway/urls.ts'
import { copierOf } from './metadata/copy-out.ts'
import { metadataOptions } from './metadata/open.ts'
import type { NodeOptions } from './node.ts'
import type { PlatformRealm } from './realms/platform.ts'
import type { Registry } from './registry.ts'
import type { Runtime } from './run.ts'

function awaitEventOf({ bus }: Foundation): Control['awaitEvent'] {
  return ({ names, project }, ms) =>
    new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        off()
        resolve()
      }
      const timer = setTimeout(end, Math.max(0, ms))
      const off = bus.on(names as Parameters<typeof bus.on>[0], (event) => {
        if (event.project_ref === project) end()
      })
    })
}

function backupPlace({ config, configPath, seat }: NodeOptions, { metadata, secrets, bootstrap, nodeName }: Foundation): BackupPlace {
  const where = metadataOptions({ database: config.database, data: { dir: seat.dataDir } })
  const metadataFile = where.type === 'sqlite' && where.file !== ':memory:' ? where.file : null
  const { dir, every, recipients, keep, keep_for: keepFor, snapshots } = config.backup
  return {
    spool: join(seat.dataDir, 'spool'),
    snapshots: join(seat.dataDir, 'snapshots'),
    plan: { dir, every, recipients, keep, keepFor, snapshots },
    metadataFile,
    copyMetadata: copierOf(metadata, metadataFile),
    installation: () => ({
      root_keys: secrets.revealRootKeys(),
      jwt_secret: secrets.jwtSecret,
      template_key: bootstrap,
      node_name: nodeName,
      config: configPath === null ? null : readFileSync(configPath, 'utf8'),
    }),
  }
}

export interface ControlParts {
  /** Where new services run. */
  readonly driver: string
  readonly registry: Registry
  readonly runtime: Runtime
  readonly realm: PlatformRealm
  readonly addressing: Addressing
  readonly onDrain: Control['onDrain']
  readonly space: Space
  readonly wire: Control['wire']
  readonly mail: Control['mail']
  readonly fetch: Control['fetch']
}

/** What the control API works with. */
export function makeControl(options: NodeOptions, foundation: Foundation, parts: ControlParts): Control {
  const { config, log, logs, version } = options
  const { registry, runtime, realm, addressing, wire, mail } = parts
  return {
    realm,
    addressing,
    wire,
    mail,
    fetch: parts.fetch,
    services: runtime.services,
    connector: runtime.connector,
    prepared: runtime.prepared,
    bases: runtime.bases,
    places: runtime.places,
    archiver: runtime.archiver,
    backup: backupPlace(options, foundation),
    specDefaults: runtime.specDefaults,
    sleepAfter: runtime.sleepAfter,
    engines: registry.engines,
    drivers: registry.drivers,
    metadata: foundation.metadata,
    db: foundation.metadata.kysely,
    change: foundation.change,
    vault: foundation.secrets.vault,
    keepAddress: foundation.keepAddress,
    rootKey: { ...foundation.secrets, source: foundation.secrets.source.replace(options.seat.dataDir, options.seat.shownDataDir) },
    log,
    node: { id: foundation.nodeName, name: foundation.nodeName, region: config.node.region },
    driver: parts.driver,
    organisationLimits: runtime.organisationLimits,
    keepDeleted: config.limits.retention.deleted_projects,
    logs,
    space: parts.space,
    onDrain: parts.onDrain,
    keepAnswers: config.limits.retention.idempotency,
    awaitEvent: awaitEventOf(foundation),
    version,
    startedAt: Date.now(),
    now: Date.now,
  }
}
