import { createServer } from 'node:net'
import { fail } from '../../base/errors.ts'

const USUAL = 5432
const FIRST = 6432
const LAST = 6531

export interface PortChoice {
  readonly host: string
  /** From the configuration; 0: any free one. */
  readonly configured?: number | null
  /** What was chosen at the first start. */
  readonly recorded?: number | null
  /** The environment variable that sets it, for the error. */
  readonly variable?: string
  readonly free?: (host: string, port: number) => Promise<boolean>
}

/**
 * The listener's port: as configured, else as recorded, else 5432 if it is free, else 6432 and up; the caller records what was chosen,
 * since connection strings name it. Rejects with `wire_port_busy` (a given one is never replaced) or `wire_port_none`.
 */
export async function choosePort(choice: PortChoice): Promise<number> {
  const { host, variable = 'SOVRABASE_WIRE_PORT', free = isFree } = choice
  if (choice.configured === 0) return 0
  const given = choice.configured ?? choice.recorded
  if (given) {
    if (await free(host, given)) return given
    throw fail('wire_port_busy', { port: given, variable })
  }
  if (await free(host, USUAL)) return USUAL
  for (let port = FIRST; port <= LAST; port++) if (await free(host, port)) return port
  throw fail('wire_port_none', { from: FIRST, to: LAST, variable })
}

export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
