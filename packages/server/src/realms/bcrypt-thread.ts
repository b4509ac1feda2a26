import { parentPort } from 'node:worker_threads'
import { compareSync } from 'bcryptjs'

parentPort?.on('message', ({ id, password, stored }: { id: number; password: string; stored: string }) => {
  let ok = false
  try {
    ok = compareSync(password, stored)
  } catch {
    // A hash that cannot be read fits no password.
  }
  parentPort?.postMessage({ id, ok })
})
