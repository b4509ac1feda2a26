import { fail, isSovraError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Driver, Endpoint } from './driver.ts'
import type { Attachment, Copied, Engine } from './engine.ts'
import type { Entry } from './entry.ts'
import type { Service } from './services.ts'

export interface StartParts {
  readonly engine: Engine
  readonly driver: Driver
  /** Copies the volume of a service that is a copy; the source stands still meanwhile. */
  readonly copy: (service: Service) => Promise<void>
  /** What the first start of a copy must know of its source. */
  readonly copied: ((service: Service) => Promise<Copied | undefined>) | undefined
  readonly log: Log
}

export interface Started {
  readonly endpoint: Endpoint
  readonly attachment: Attachment | null
}

/** A volume that is not there would be made from the template: what has data already, or is a copy that nobody has copied yet, would start empty and stay so. */
async function ensureCopied({ driver, copy }: StartParts, service: Service): Promise<void> {
  if (!service.source && service.observedVersion === 0) return
  if ((await driver.inspect(service.id, service.volume)).state !== 'absent') return
  if (service.observedVersion > 0) throw fail('volume_missing', { volume: service.volume })
  try {
    await copy(service)
  } catch (error) {
    // Another attempt was faster: what is there is whole.
    if (isSovraError(error, 'volume_exists')) return
    throw isSovraError(error, 'service_not_found') ? fail('copy_source_gone', {}, { cause: error }) : error
  }
}

async function steps(parts: StartParts, entry: Entry, service: Service, signal: AbortSignal): Promise<Started> {
  const { engine, driver } = parts
  const goOn = () => {
    if (signal.aborted) throw fail('service_ended', { detail: String(signal.reason) })
  }
  await ensureCopied(parts, service)
  goOn()
  const endpoint = await driver.apply(engine.workload(service))
  // It went on running although it should have ended: word of its end is news then.
  if (entry.formerRun === endpoint.run) entry.formerRun = null
  try {
    goOn()
    await engine.ready(endpoint, service)
    goOn()
    const copied = service.observedVersion === 0 && service.source ? await parts.copied?.(service) : undefined
    if (copied) await engine.adopt?.(endpoint, service, copied)
    goOn()
    await engine.prepare(endpoint, service)
    goOn()
    return { endpoint, attachment: (await engine.attach?.(endpoint, service)) ?? null }
  } catch (error) {
    entry.formerRun = endpoint.run
    throw error
  }
}

/** Starts a service until it answers and is attached. A failed start leaves no process, and nothing open to one. */
export async function start(parts: StartParts, entry: Entry, service: Service): Promise<Started> {
  const { driver, log } = parts
  const abort = new AbortController()
  const ended = new Promise<never>((_, reject) => {
    entry.abort = (detail) => {
      abort.abort(detail)
      reject(fail('service_ended', { detail }))
    }
  })
  const starting = steps(parts, entry, service, abort.signal)
  try {
    return await Promise.race([starting, ended])
  } catch (error) {
    entry.abort = null
    await driver.sleep(entry.id).catch((stopping: unknown) => log.error({ err: stopping, service: entry.id }, 'could not stop'))
    // A step that was under way ends with its process; only then may another start begin.
    const late = await starting.catch(() => null)
    if (late) {
      entry.formerRun = late.endpoint.run
      await late.attachment?.close().catch(() => {})
    }
    throw error
  } finally {
    entry.abort = null
  }
}
