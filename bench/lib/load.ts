/**
 * A load generator in a process of its own: raw sockets, keep-alive, one request at a time on each, prebuilt texts in turn.
 * What it costs is not counted, and it costs little.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Request {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface LoadPlan {
  readonly host: string
  readonly port: number
  readonly connections: number
  /** Sent in turn, whatever the connection. */
  readonly requests: readonly string[]
  /** Pause on each connection between an answer and its next request. ms */
  readonly pause?: number
}

export interface LoadResult {
  readonly done: number
  /** Answers that were no 2xx, and broken connections. */
  readonly errors: number
  readonly firstError: string | null
  readonly seconds: number
  /** ms */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

export const requestText = ({ method, path, headers, body }: Request, host: string): string => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = body === undefined ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n${lines.join('')}${length}\r\n${body ?? ''}`
}

export interface Load {
  run(seconds: number): Promise<LoadResult>
  stop(): void
}

/** Starts the process and opens its connections. */
export async function startLoad(plan: LoadPlan): Promise<Load> {
  const child = fork(import.meta.filename, ['generate'], { serialization: 'advanced' })
  child.send({ plan })
  await answerOf(child)
  return {
    async run(seconds) {
      child.send({ seconds })
      return (await answerOf(child)) as LoadResult
    },
    stop: () => void child.kill('SIGKILL'),
  }
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const ended = new AbortController()
  try {
    const [message] = (await Promise.race([
      once(child, 'message', { signal: ended.signal }),
      once(child, 'exit', { signal: ended.signal }).then(() => {
        throw new Error('the load generator ended')
      }),
    ])) as [unknown]
    return message
  } finally {
    ended.abort()
  }
}

const HEAD_END = Buffer.from('\r\n\r\n')
const LENGTH = 'content-length: '
const CHUNK_END = Buffer.from('0\r\n\r\n')

class Client {
  readonly #plan: LoadPlan
  readonly #next: () => Buffer
  readonly #record: (ms: number, error: string | null) => void
  #socket: Socket
  #sent = 0
  #status = ''
  #left = -1
  #held: Buffer | null = null
  #busy = false
  running = false
  onIdle: (() => void) | null = null

  constructor(plan: LoadPlan, next: () => Buffer, record: (ms: number, error: string | null) => void) {
    this.#plan = plan
    this.#next = next
    this.#record = record
    this.#socket = this.#open()
  }

  #open(): Socket {
    const socket = connect({ host: this.#plan.host, port: this.#plan.port, noDelay: true })
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#held = null
      this.#left = -1
      this.#socket = this.#open()
      if (this.#busy) this.#finish('the connection was closed')
    })
    return socket
  }

  start(): void {
    this.running = true
    if (!this.#busy) this.#send()
  }

  get busy(): boolean {
    return this.#busy
  }

  #send(): void {
    this.#busy = true
    this.#sent = performance.now()
    this.#socket.write(this.#next())
  }

  #read(chunk: Buffer): void {
    let data = chunk
    if (this.#left < 0) {
      if (this.#held !== null) data = Buffer.concat([this.#held, chunk])
      const end = data.indexOf(HEAD_END)
      if (end < 0) {
        this.#held = data
        return
      }
      const head = data.toString('latin1', 0, end).toLowerCase()
      this.#status = head.slice(9, 12)
      const at = head.indexOf(LENGTH)
      if (at < 0 && head.includes('transfer-encoding: chunked')) {
        if (data.subarray(-CHUNK_END.length).equals(CHUNK_END)) this.#left = 0
        else this.#held = data
        if (this.#left < 0) return
      } else {
        this.#left = (at < 0 ? 0 : Number.parseInt(head.slice(at + LENGTH.length), 10)) - (data.length - end - HEAD_END.length)
      }
      this.#held = null
      if (this.#status[0] !== '2') this.#status = `${this.#status} ${data.toString('utf8', end + 4, end + 304)}`
    } else this.#left -= data.length
    if (this.#left > 0) return
    this.#left = -1
    this.#finish(this.#status.length === 3 ? null : this.#status)
  }

  #finish(error: string | null): void {
    this.#record(performance.now() - this.#sent, error)
    this.#busy = false
    if (!this.running) this.onIdle?.()
    else if (this.#plan.pause) setTimeout(() => (this.running ? this.#send() : this.onIdle?.()), this.#plan.pause)
    else this.#send()
  }
}

function generate(plan: LoadPlan): (seconds: number) => Promise<LoadResult> {
  const texts = plan.requests.map((text) => Buffer.from(text))
  let turn = 0
  let times: number[] = []
  let errors = 0
  let firstError: string | null = null
  const next = () => texts[turn++ % texts.length]!
  const record = (took: number, error: string | null) => {
    times.push(took)
    if (error === null) return
    errors++
    firstError ??= error
  }
  const clients = Array.from({ length: plan.connections }, () => new Client(plan, next, record))
  return async (seconds) => {
    times = []
    errors = 0
    firstError = null
    const start = performance.now()
    for (const client of clients) client.start()
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    // A round ends when every connection has its answer: the CPU of each counted request lies within the round.
    const idle = clients.map(
      (client) =>
        new Promise<void>((resolve) => {
          client.onIdle = resolve
          client.running = false
          if (!client.busy) resolve()
        }),
    )
    await Promise.all(idle)
    const took = (performance.now() - start) / 1000
    const sorted = Float64Array.from(times).sort()
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
    return { done: times.length, errors, firstError, seconds: took, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) }
  }
}

if (process.argv[2] === 'generate') {
  let run: ((seconds: number) => Promise<LoadResult>) | null = null
  process.on('disconnect', () => process.exit(0))
  process.on('message', async (message: { plan?: LoadPlan; seconds?: number }) => {
    if (message.plan) {
      run = generate(message.plan)
      process.send?.('ready')
    } else if (run && message.seconds !== undefined) process.send?.(await run(message.seconds))
  })
}
