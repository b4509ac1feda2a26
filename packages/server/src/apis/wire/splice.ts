import type { Socket } from 'node:net'
import { endsReady, fatal, isTerminate, READY_LENGTH, type Refusal } from './messages.ts'

/** ms that a peer gets to close after the other one has. */
const LINGER = 5_000
const ERROR_RESPONSE = 0x45

export interface SpliceOptions {
  readonly client: Socket
  readonly cluster: Socket
  readonly now: () => number
  /** Called once, when both ends are closed. */
  readonly closed: () => void
}

/** Bytes of a signed-in session, both ways, with back-pressure and half-closes; nothing is parsed, the time of the client's last bytes is kept. */
export class Splice {
  readonly #client: Socket
  readonly #cluster: Socket
  readonly #now: () => number
  readonly #closed: () => void
  #last: number
  #busy = false
  /** The client has said goodbye: what is left is two sockets that close, and no work. */
  #leaving = false
  /** The last bytes of a statement's answer so far. */
  #before: Buffer | null = null
  /** The cluster itself said why it ends the session. */
  #told = false
  #ending: Refusal | null = null
  #open = 2

  constructor({ client, cluster, now, closed }: SpliceOptions) {
    this.#client = client
    this.#cluster = cluster
    this.#now = now
    this.#closed = closed
    this.#last = now()
  }

  /** Starts with what was read and not yet passed on. Both sockets are paused and have no other readers. */
  start(fromClient: Buffer, fromCluster: Buffer): void {
    const [client, cluster] = [this.#client, this.#cluster]
    if (fromCluster.length > 0) client.write(fromCluster)
    if (fromClient.length > 0) this.#fromClient(fromClient)
    client.on('data', this.#fromClient)
    cluster.on('data', this.#fromCluster)
    client.on('drain', () => cluster.resume())
    cluster.on('drain', () => client.resume())
    client.on('end', () => cluster.end())
    cluster.on('end', () => this.#finish())
    client.on('error', () => client.destroy())
    cluster.on('error', () => cluster.destroy())
    onClose(client, () => {
      cluster.destroy()
      this.#gone()
    })
    onClose(cluster, () => {
      this.#finish()
      this.#gone()
    })
    if (client.readableEnded) cluster.end()
    client.resume()
    cluster.resume()
  }

  readonly #fromClient = (chunk: Buffer) => {
    if (this.#cluster.destroyed) return
    this.#last = this.#now()
    if (!this.#busy && isTerminate(chunk)) this.#leaving = true
    else this.#busy = true
    if (!this.#cluster.write(chunk)) this.#client.pause()
  }

  readonly #fromCluster = (chunk: Buffer) => {
    if (this.#client.writableEnded) return
    if (this.#busy) this.#look(chunk)
    if (!this.#busy && chunk[0] === ERROR_RESPONSE) this.#told = true
    if (!this.#client.write(chunk)) this.#cluster.pause()
    if (this.#ending && !this.#busy) this.#say(this.#ending)
  }

  /** Is the statement through? */
  #look(chunk: Buffer): void {
    // The end of a read may have cut the message in two.
    const end = chunk.length < READY_LENGTH && this.#before ? Buffer.concat([this.#before, chunk]) : chunk
    if (endsReady(end)) {
      this.#busy = false
      this.#before = null
      this.#last = this.#now()
    } else this.#before = end.subarray(1 - READY_LENGTH)
  }

  /** The cluster has said all it will. */
  #finish(): void {
    const client = this.#client
    if (client.writableEnded || client.destroyed) return
    if (!this.#busy && !this.#told && !this.#leaving && !client.readableEnded) client.end(fatal(lost))
    else client.end()
    this.#linger()
  }

  #linger(): void {
    const timer = setTimeout(() => {
      this.#client.destroy()
      this.#cluster.destroy()
    }, LINGER)
    timer.unref()
    this.#client.once('close', () => clearTimeout(timer))
  }

  #gone(): void {
    this.#open--
    if (this.#open === 0) this.#closed()
  }

  #say(why: Refusal): void {
    if (!this.#client.writableEnded && !this.#client.destroyed) {
      if (this.#leaving) this.#client.end()
      else this.#client.end(fatal(why))
      this.#client.resume()
      this.#linger()
    }
    this.#cluster.destroy()
  }

  /** ms since the epoch: now while a statement runs, else when the last one began or ended. */
  get lastActivity(): number {
    return this.#busy ? this.#now() : this.#last
  }

  get busy(): boolean {
    return this.#busy
  }

  /**
   * Says why to the client and closes. Between statements at once; during one at its end, or in the cluster's own words if that stops first:
   * a message in the midst of another would be read as nonsense.
   */
  end(why: Refusal): void {
    this.#ending ??= why
    if (!this.#busy) this.#say(why)
  }

  destroy(): void {
    this.#client.destroy()
    this.#cluster.destroy()
  }
}

/** Also where it closed before anyone listened. */
function onClose(socket: Socket, run: () => void): void {
  if (socket.closed) queueMicrotask(run)
  else socket.once('close', run)
}

const lost: Refusal = {
  code: '57P01',
  message: 'the connection to the project was lost',
  hint: 'Connect again: that wakes the project.',
}
