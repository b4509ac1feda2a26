import { connect } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PackedTar, pour } from '../../../base/archive/pour.ts'
import type { Tar } from '../../../base/archive/tar-apart.ts'
import type { Hands } from './hands.ts'

/** Volumes as tars, through a socket between the hands and whoever reads or writes them. */

const TAR_SOCKET = new URL('./tar-socket.ts', import.meta.url).href
const READER_GONE = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'])

export async function packInto(hands: Hands, volume: string): Promise<Tar> {
  const { id, path } = await hands.pipe()
  return { module: TAR_SOCKET, args: { path }, whole: hands.pack(volume, id) }
}

export async function unpackFrom(hands: Hands, volume: string, tar: PackedTar | Readable): Promise<void> {
  const { id, path } = await hands.pipe()
  const to = tar instanceof PackedTar ? null : connect(path)
  const done = hands.unpack(volume, id)
  done.catch(() => to?.destroy())
  const sending = tar instanceof PackedTar ? pour(tar, path) : pipeline(tar, to!)
  if (tar instanceof PackedTar) sending.catch(() => comeAndGo(path))
  const [sent, laid] = await Promise.allSettled([sending, done])
  const gone = sent.status === 'rejected' && READER_GONE.has((sent.reason as NodeJS.ErrnoException).code ?? '')
  // Why the reader went says more. One that is cut between two members is a whole tar for its reader: only who sends knows.
  if (laid.status === 'rejected') throw sent.status === 'fulfilled' || gone ? laid.reason : sent.reason
  if (sent.status === 'fulfilled') return
  await hands.remove(volume)
  throw sent.reason
}

/** Who waits at a pipe for somebody who failed before he came waits no longer. */
function comeAndGo(path: string): void {
  const socket = connect(path, () => socket.destroy())
  socket.on('error', () => {})
}
