import { rmSync } from 'node:fs'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** A program that was writing there has what was in its pipe still. */
const AGAIN = { maxRetries: 20, retryDelay: 50 } as const

/** Until `end`, Ctrl-C removes what is half made, then ends the process as it would have. For commands: a server has ends of its own. */
export function removeOnInterrupt(dir: string): { end(): void } {
  const end = () => {
    for (const signal of SIGNALS) process.off(signal, interrupted)
  }
  function interrupted(signal: NodeJS.Signals): void {
    end()
    try {
      rmSync(dir, { recursive: true, force: true, ...AGAIN })
    } finally {
      process.kill(process.pid, signal)
    }
  }
  for (const signal of SIGNALS) process.on(signal, interrupted)
  return { end }
}
