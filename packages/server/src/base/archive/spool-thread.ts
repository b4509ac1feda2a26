import { parentPort } from 'node:worker_threads'
import { isSovraError } from '../errors.ts'
import type { SpoolAnswer, SpoolOrder } from './spool.ts'
import { openApart, type TarApart } from './tar-apart.ts'
import { spool } from './write.ts'

const stops = new Map<number, AbortController>()

async function answerTo(id: number, order: Pick<TarApart, 'module' | 'args'> & { readonly file: string }): Promise<SpoolAnswer> {
  const stop = new AbortController()
  stops.set(id, stop)
  try {
    return { id, spooled: await spool(await openApart(order), order.file, stop.signal) }
  } catch (error) {
    if (isSovraError(error)) return { id, error: { code: error.code, message: error.message, hint: error.hint } }
    return { id, error: { message: error instanceof Error ? (error.stack ?? error.message) : String(error), hint: '' } }
  } finally {
    stops.delete(id)
  }
}

parentPort?.on('message', (order: SpoolOrder) => {
  if ('stop' in order) stops.get(order.id)?.abort()
  else void answerTo(order.id, order).then((answer) => parentPort?.postMessage(answer))
})
