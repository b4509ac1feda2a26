import type { Readable } from 'node:stream'
import type { TSchema } from 'typebox'
import type { PackedTar } from '../base/archive/pour.ts'
import type { Tar } from '../base/archive/tar-apart.ts'

export type ServiceId = string

/** What a driver is asked to run: pure data, made by an engine. */
export interface Workload {
  readonly id: ServiceId
  /** Engine name: where a driver has a recipe of its own for it. */
  readonly engine: string
  readonly project: string
  /** Data directory name, relative to the data directory of the node: never absolute, so that a stopped one can be moved. */
  readonly volume: string
  /** How a new volume is filled: a copy of this named template (made by the engine's `template()` on the node), or empty. */
  readonly template?: string
  /** Logical name of the binary (`postgres`), resolved by the driver, and its arguments. `{volume}` and `{runtime}` are replaced by their paths. */
  readonly command: readonly string[]
  /** Programs of another version for a volume that it wrote. */
  readonly versions?: WorkloadVersions
  readonly environment: Readonly<Record<string, string>>
  /** Files written into the volume at each start (relative path → text), mode 0600. */
  readonly files: Readonly<Record<string, string>>
  /** Path of the unix socket relative to `{runtime}` (`.s.PGSQL.5432`: its trailing digits are the port), or a TCP port inside the container. */
  readonly socket: string
  /** File in the volume that a killed run leaves behind and that would stop the next one (`postmaster.pid`): removed when no process of that run lives. */
  readonly pidFile?: string
  /** How to stop it: signals in order, each with its patience in ms. */
  readonly stop: readonly { readonly signal: NodeJS.Signals; readonly wait: number }[]
  readonly limits: WorkloadLimits
}

export interface WorkloadVersions {
  /** At the top of the volume: its first line says which version wrote it. */
  readonly file: string
  /** What `command` and `files` are for. */
  readonly own: string
  /** What else there are programs for; its files stand for those of the same name. A volume of none of them is not started. */
  readonly known: Readonly<Record<string, { readonly command: readonly string[]; readonly files: Readonly<Record<string, string>> }>>
}

export interface WorkloadLimits {
  /** MiB for the whole process tree; 0: none. */
  readonly memory: number
  /** MiB on disk; 0: none. Polled by the runtime, not by the driver. */
  readonly disk: number
}

/** How a template volume is built, once on each node: an engine says it as data and one function. */
export interface Template {
  /** Versioned (`postgres-18.4-1a2b3c4d`): another content is another name. What `Workload.template` says. */
  readonly name: string
  /** Program that fills the empty `{volume}` and ends (`['initdb', '-D', '{volume}', …]`), with its environment. */
  readonly init: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** How the volume is then started to be prepared, under an id and volume of the driver's choice. */
  workload(id: ServiceId, volume: string): Workload
  /** Makes it ready to be copied (waits for it, runs SQL); it is stopped cleanly, written to disk and renamed afterwards. */
  fill(at: Endpoint): Promise<void>
}

/** Where a running service answers. */
export interface Endpoint {
  readonly service: ServiceId
  /** Directory of the unix socket, or a host name. */
  readonly host: string
  readonly port: number
  /** Main process id where the driver knows it. */
  readonly pid?: number
  /** Changes at each start of the service: what is cached for one run ends with it. */
  readonly run: string
}

export interface Observed {
  readonly state: 'absent' | 'asleep' | 'awake' | 'crashed'
  readonly pid?: number
  /** Bytes on disk (allocated), where it was asked for. */
  readonly disk?: number
  /** Bytes of memory of all its processes, where it was asked for and the driver can tell. */
  readonly memory?: number
}

/** Allocated bytes of a volume. */
export interface Usage {
  readonly total: number
  /** Of that, by directory at its top. */
  readonly parts: Readonly<Record<string, number>>
  /** Of the log, which lies elsewhere. */
  readonly log: number
}

/** *Where* it runs. One folder below drivers/; added by `node.driver()`. Runs any Workload. */
export interface Driver {
  /** "embedded" */
  readonly name: string
  /** Its part of config.yaml. */
  readonly options: TSchema
  readonly isolation: 'full' | 'same-user' | 'external'
  /** Create, change or wake; idempotent. Resolves when the process is started (not yet ready: that is the engine's word). */
  apply(workload: Workload): Promise<Endpoint>
  /** Stop, keep the data; idempotent. */
  sleep(id: ServiceId): Promise<void>
  /** Stop and physically remove the data; idempotent. */
  remove(id: ServiceId, volume: string): Promise<void>
  /** Build the template if this node has none of that name; idempotent, callers share one build. Removes nothing. */
  template?(template: Template): Promise<void>
  /** Copy a stopped service's volume to a new one. */
  copy(from: string, to: string): Promise<void>
  /** A stopped service's volume as a tar. */
  pack?(volume: string): Promise<Tar>
  /** A new volume from such a tar: whole and on disk when it resolves, absent when it rejects. `volume_exists`. */
  unpack?(volume: string, tar: Readable | PackedTar): Promise<void>
  /** Renames a stopped volume. */
  move?(from: string, to: string): Promise<void>
  /** Names of all volumes on this node. */
  volumes?(): Promise<string[]>
  /** How a volume is made one of another version of its engine. */
  readonly refit?: Refit
  /** Bytes of the volumes that are packed. */
  packed?(): ReadonlyMap<string, number>
  /** What a volume takes; undefined where it is not here. */
  usage?(volume: string): Promise<Usage | undefined>
  /** The last bytes of what the service wrote. */
  log?(volume: string, bytes: number): Promise<string>
  inspect(id: ServiceId, volume: string, options?: { disk?: boolean; memory?: boolean }): Promise<Observed>
  /** Called once for each end of a service that nobody asked for; `run` is that of its endpoint: the word may come when it runs again. */
  onExit(listener: (id: ServiceId, detail: string, run: string) => void): void
  /** Ends everything that it started. */
  close(): Promise<void>
}

/**
 * A volume is worked on that nobody uses: `stage` copies one into it, programs make the new data beside the copy, `unfold` leaves that alone.
 * What it was copied from is only read.
 */
export interface Refit {
  /** A new volume with a copy of the other in its directory `old`, and these files at its top. */
  stage(from: string, to: string, files: Readonly<Record<string, string>>): Promise<void>
  /** Runs a program on it to its end, with the rights of the volume's owner; answers what it printed. Nothing of it is left running. */
  run(volume: string, program: RefitProgram): Promise<string>
  /** The volume becomes what lies in a directory at its top; the rest goes. */
  unfold(volume: string, inner: string): Promise<void>
}

export interface RefitProgram {
  /** As `Workload.command`; `{bin:NAME}` is the directory of another program. */
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly input?: string
}
