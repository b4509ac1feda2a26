import { parentPort, workerData } from 'node:worker_threads'
import { type SealWith, seal } from './seal.ts'

const { text, ...key } = workerData as SealWith & { readonly text: string }
try {
  parentPort?.postMessage({ sealed: await seal(text, key) })
} catch (error) {
  // Who asked says what it means: here only why.
  const { cause } = error as { cause?: unknown }
  parentPort?.postMessage({ reason: cause instanceof Error ? cause.message : 'unknown' })
}
