import type { Log } from './base/log.ts'
import type { LogFiles } from './base/log-files.ts'
import type { Config } from './config.ts'
import type { Control } from './control/context.ts'
import { ensureDemo } from './control/demo/demo.ts'
import { setupSecret } from './control/setup/store.ts'
import { closedDoors, type Doors, openDoors } from './doors.ts'
import { type Ends, makeEnds } from './ends.ts'
import { type Foundation, lay } from './foundation.ts'
import type { Seat } from './keeper.ts'
import { joinNodes } from './metadata/nodes.ts'
import { mountAll } from './mount.ts'
import { assemble, DRIVER, type Parts } from './parts.ts'
import { upgradeKind } from './runtime/upgrade/job.ts'
import { upgradeStore } from './runtime/upgrade/store.ts'
import { handleJobs, startWork } from './work.ts'

export interface NodeOptions {
  readonly config: Config
  readonly seat: Seat
  readonly log: Log
  /** Null where they cannot be written. */
  readonly logs: LogFiles | null
  /** The file that the configuration was read from. */
  readonly configPath: string | null
  readonly version: string
  /** False: no demo project at a first start (a server install). */
  readonly demo: boolean
}

/** A running server. */
export interface Node extends Ends {
  readonly control: Control
  readonly foundation: Foundation
  readonly url: string
  readonly adminUrl: string
  /** The set-up link while nobody has used it. */
  readonly setupUrl: string | null
  readonly demoRef: string | null
  readonly isolation: string
  readonly engineVersion: string
}

/** What the server before this one was at; answers what it had running. */
async function inheritWork({ metadata, queue, nodeName }: Foundation, { runtime }: Parts) {
  const ran = await runtime.services.settle(metadata.kysely, nodeName)
  await upgradeStore.interrupt(metadata.kysely, nodeName)
  await queue.inherit(upgradeKind(nodeName))
  return ran
}

const join = ({ metadata, nodeName }: Foundation, { node, api }: Config) =>
  joinNodes(metadata, {
    id: nodeName,
    name: nodeName,
    region: node.region,
    url: api.public_url,
    roles: ['control', 'gateway', 'runtime'],
  })

/** From here on it serves, and works by itself. Answers the demo project of a first start. */
async function begin(options: NodeOptions, foundation: Foundation, parts: Parts, ran: Awaited<ReturnType<typeof inheritWork>>) {
  const { config, seat, log } = options
  const { runtime, control, metrics, driver, listPacks } = parts
  const { queue } = foundation
  await startWork({ config, foundation, runtime, control, metrics, driver, listPacks, log })
  // The data directory is this process's alone: a former one that is no giver of its sockets is dead.
  if (!seat.heir) await queue.takeBack()
  queue.start()
  const demoRef = options.demo ? await ensureDemo(control, log) : null
  await runtime.start(seat.heir ? ran : [])
  return demoRef
}

async function setupUrl({ control, addressing }: Parts): Promise<string | null> {
  const secret = await setupSecret(control)
  return secret === null ? null : `${addressing.publicUrl()}/setup?token=${secret}`
}

/** The wiring: config → foundation → parts → APIs → listeners. */
export async function startNode(options: NodeOptions): Promise<Node> {
  const { config, seat, log } = options
  const foundation = await lay(config, seat, log)
  const doors: Doors = closedDoors(config)
  const parts = await assemble(options, foundation, doors)
  const ran = await inheritWork(foundation, parts)
  handleJobs(parts.control, foundation)
  const app = await mountAll(options, foundation, parts, () => doors.ready)
  const joined = await join(foundation, config)
  const ends = makeEnds({ ...parts, config, foundation, app, joined, doors })
  try {
    await Promise.all([foundation.bus.start(), parts.denied.load()])
    await openDoors(doors, app, options, foundation, parts)
    const demoRef = await begin(options, foundation, parts, ran)
    doors.ready = true
    return {
      control: parts.control,
      foundation,
      url: parts.addressing.publicUrl(),
      adminUrl: `http://${config.admin.host}:${doors.admin?.port}`,
      setupUrl: await setupUrl(parts),
      demoRef,
      isolation: parts.registry.driver(DRIVER).isolation,
      engineVersion: parts.engineVersion,
      ...ends,
    }
  } catch (error) {
    await ends.close().catch(() => {})
    throw error
  }
}
