import { parentPort, workerData } from 'node:worker_threads'
import { type SealWith, seal } from './seal.ts'

const { text, ...key } = workerData as SealWith & { readonly text: string }
try {
  parentPort?.postMessage({ sealed: await seal(text, key) })
} catch (error) {
  parentPort?.postMessage({ reason: error instanceof Error ? error.message : 'unknown' })
}
