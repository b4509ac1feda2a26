import type { Server } from 'node:net'

/** A listening socket without a server: it passes between processes, and connections that come meanwhile wait in its queue. */
export interface Handle {
  close(): void
}

/** What it listens on, as the configuration says it: another address is not inherited. */
export const handleName = (listener: 'api' | 'admin' | 'wire', host: string, port: number | string): string => `${listener} ${host} ${port}`

/** Node passes it between processes (`send`) and listens on it (`listen({ handle })`), but has no public name for it. */
export function handleOf(server: Server): Handle | null {
  return (server as unknown as { readonly _handle: Handle | null })._handle
}

/** What of these nobody takes is closed by whoever holds them. */
export class Handles {
  readonly #all: Map<string, Handle>

  constructor(all: Iterable<readonly [string, Handle]> = []) {
    this.#all = new Map(all)
  }

  /** For `listen()`: it is then the server's. */
  take(name: string): { readonly handle: Handle } | Record<string, never> {
    const handle = this.#all.get(name)
    this.#all.delete(name)
    return handle === undefined ? {} : { handle }
  }

  has(name: string): boolean {
    return this.#all.has(name)
  }

  close(): void {
    for (const handle of this.#all.values()) handle.close()
    this.#all.clear()
  }
}
