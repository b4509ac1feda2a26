import { randomBytes } from 'node:crypto'
import { type AddressInfo, createServer, type ListenOptions, type Socket } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import { fail, isSovraError } from '../../base/errors.ts'
import { type Handle, handleOf } from '../../base/handles.ts'
import { budgetKey } from '../../base/proxies.ts'
import type { Attachment } from '../../runtime/engine.ts'
import type { Hold } from '../../runtime/entry.ts'
import type { Ticket } from './budget.ts'
import { Cancels } from './cancels.ts'
import { Inbox } from './inbox.ts'
import { type Cancel, fatal, isRefusal, type Refusal, startupPacket } from './messages.ts'
import { WIRE_LIMITS, type WireLimits, type WireListener, type WireOptions } from './options.ts'
import { Patience } from './patience.ts'
import { type Project, Projects } from './projects.ts'
import { ENDINGS, overBudget, overQuota, projectFull, type Quota, serverFull, unreachable } from './refusals.ts'
import { dialCluster, greet, passCancel, pretend, signIn } from './sign-in.ts'
import { Splice } from './splice.ts'
import { readStart, type Target, targetOf } from './start.ts'

/** Beyond `connections`: for cancels, which must pass when everything is full. */
const SPARE = 100
const SERVICE = 'db'
const REASON = 'wire'

type Counted = 'signed_in' | 'failed' | 'over_budget' | 'refused' | 'cancel' | 'malformed'

interface Visit {
  readonly ip: string
  readonly signal: AbortSignal
  readonly patience: Patience
}

/** The listener of PostgreSQL's own protocol: user `postgres.<ref>` names the project; it is woken, and bytes pass both ways. */
export async function wireApi(options: WireOptions): Promise<WireListener> {
  const listener = new Listener(options)
  await listener.listen()
  return listener
}

function secureContextOf({ cert, key }: { cert: string; key: string }): SecureContext {
  try {
    return createSecureContext({ cert, key, minVersion: 'TLSv1.2' })
  } catch (cause) {
    throw fail('wire_tls_invalid', { reason: 'certificate and key are not PEM, or do not belong together' }, { cause })
  }
}

class Listener implements WireListener {
  readonly #options: WireOptions
  readonly #limits: WireLimits
  readonly #now: () => number
  readonly #server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket))
  readonly #cancels = new Cancels()
  readonly #secret: Buffer
  readonly #sockets = new Set<Socket>()
  readonly #splices = new Set<Splice>()
  readonly #projects: Projects
  readonly #pending = new Map<string, number>()
  readonly #count: (result: Counted) => void
  #tls: SecureContext | null
  #pendingAll = 0
  #closing = false
  #drained: (() => void) | null = null

  constructor(options: WireOptions) {
    this.#options = options
    this.#limits = { ...WIRE_LIMITS, ...options.limits }
    this.#projects = new Projects(this.#limits.handshakes)
    this.#now = options.now ?? Date.now
    this.#secret = options.decoySecret ?? randomBytes(32)
    this.#tls = options.tls ? secureContextOf(options.tls) : null
    const counter = options.metrics?.counter('sovrabase_wire_connections_total', 'Connections of the wire listener by result', ['result'])
    this.#count = (result) => counter?.inc({ result })
    options.metrics?.gauge('sovrabase_wire_sessions_open', 'Signed-in sessions of the wire listener', [], (gauge) =>
      gauge.set(this.#splices.size),
    )
  }

  listen(): Promise<void> {
    const { port } = this.#options.listen
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'EADDRINUSE' ? fail('wire_port_busy', { port, variable: 'SOVRABASE_WIRE_PORT' }, { cause: error }) : error),
      )
      this.#server.listen({ ...this.#options.listen, exclusive: true } as ListenOptions, resolve)
    })
  }

  get host(): string {
    return this.#options.listen.host
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? this.#options.listen.port
  }

  handle(): Handle | null {
    return handleOf(this.#server)
  }

  sessions(ref: string): number {
    return this.#projects.sessions(ref)
  }

  useTls(tls: { cert: string; key: string }): void {
    this.#tls = secureContextOf(tls)
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy())
    const ip = socket.remoteAddress
    const key = budgetKey(ip ?? '')
    const pending = this.#pending.get(key) ?? 0
    const crowded = this.#pendingAll >= this.#limits.pending || pending >= this.#limits.pendingPerAddress
    if (ip === undefined || this.#closing || crowded || this.#sockets.size >= this.#limits.connections + SPARE) return void socket.destroy()
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.setKeepAlive(true, this.#limits.keepAlive)
    this.#pendingAll++
    this.#pending.set(key, pending + 1)
    const controller = new AbortController()
    const gone = () => controller.abort()
    socket.once('close', gone)
    const patience = new Patience(this.#limits.startup, () => socket.destroy())
    this.#visit(socket, { ip, signal: controller.signal, patience })
      .catch((error: unknown) => {
        if (!socket.destroyed) this.#options.log.error({ err: error }, 'wire connection failed')
        socket.destroy()
      })
      .finally(() => {
        patience.stop()
        socket.off('close', gone)
        this.#pendingAll--
        const left = (this.#pending.get(key) ?? 1) - 1
        if (left > 0) this.#pending.set(key, left)
        else this.#pending.delete(key)
      })
  }

  /** Until the session is handed to its splice, or refused. */
  async #visit(socket: Socket, visit: Visit): Promise<void> {
    const opened = await readStart(socket, this.#tls)
    if (!opened) {
      this.#count('malformed')
      return void socket.destroy()
    }
    const { inbox, first } = opened
    if (isRefusal(first)) return this.#refuse(inbox, first, 'malformed')
    if (first.kind === 'cancel') return this.#cancel(inbox, first)
    if (this.#sockets.size > this.#limits.connections) return this.#refuse(inbox, serverFull, 'refused')
    const target = targetOf(first)
    if (isRefusal(target)) return this.#refuse(inbox, target, 'refused')
    const { budget } = this.#options
    if (target.negotiate) inbox.socket.write(target.negotiate)
    const ticket = await visit.patience.without(budget.enter(visit.ip, `${target.role}.${target.ref}`, visit.signal))
    if (!ticket) return this.#refuse(inbox, overBudget(budget.retryAfter(visit.ip)), 'over_budget')
    try {
      await this.#enter(inbox, { target, ticket, visit })
    } finally {
      ticket.dropped()
    }
  }

  #refuse(inbox: Inbox, why: Refusal, counted: Counted): void {
    this.#count(counted)
    const { socket } = inbox
    if (socket.destroyed) return
    inbox.release()
    socket.end(fatal(why))
    // Read to the end, so that the close is no reset, which would take the message with it.
    socket.resume()
    const timer = setTimeout(() => socket.destroy(), 2_000)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
  }

  async #cancel(inbox: Inbox, { pid, secret }: Cancel): Promise<void> {
    this.#count('cancel')
    const real = this.#cancels.find(pid, secret)
    if (real) await passCancel(real)
    inbox.socket.destroy()
  }

  async #enter(client: Inbox, entry: { target: Target; ticket: Ticket; visit: Visit }): Promise<void> {
    const { target, ticket, visit } = entry
    const wired = await visit.patience.without(this.#options.resolve(target.ref))
    const hold = wired ? await this.#wake(client, target, visit) : null
    if (hold === 'refused') return
    if (!wired || !hold) {
      const { guessed, refusal } = await pretend(client, this.#secret, target)
      ticket.failed(guessed)
      return refusal ? this.#refuse(client, refusal, 'failed') : void client.socket.destroy()
    }
    const project = this.#projects.enter(target.ref, wired.connections)
    try {
      await this.#meet(client, { ...entry, hold, project, keepIdle: wired.keepIdle })
    } finally {
      // Where the session began, its splice has made a link of it.
      hold.release()
      this.#projects.leave(project)
    }
  }

  /** Null: there is no such service after all. */
  async #wake(client: Inbox, { ref }: Target, visit: Visit): Promise<Hold | 'refused' | null> {
    try {
      const hold = await visit.patience.without(this.#options.hold(ref, SERVICE, REASON))
      if (!visit.signal.aborted) return hold
      hold.release()
      return 'refused'
    } catch (error) {
      const known = isSovraError(error)
      if (known && (error.status === 404 || error.status === 410)) return null
      if (!known) this.#options.log.error({ err: error, project: ref }, 'wire: could not wake a project')
      const why = known ? { message: error.message, hint: error.hint } : unreachable
      this.#refuse(client, { ...why, code: '57P03' }, 'refused')
      return 'refused'
    }
  }

  async #meet(
    client: Inbox,
    entry: { target: Target; ticket: Ticket; visit: Visit; hold: Hold; project: Project; keepIdle: boolean },
  ): Promise<void> {
    const { target, ticket, visit, hold, project } = entry
    const leave = await visit.patience.without(project.gate.enter(visit.signal))
    if (!leave) return ticket.failed(false)
    let socket: Socket | null = null
    const abort = () => socket?.destroy()
    visit.signal.addEventListener('abort', abort)
    try {
      socket = await dialCluster(hold.endpoint, visit.signal)
      const cluster = new Inbox(socket)
      socket.write(startupPacket(target.version, target.parameters))
      const { passed, guessed, refusal } = await signIn(client, cluster, target.role)
      if (!passed) {
        ticket.failed(guessed)
        socket.destroy()
        return refusal ? this.#refuse(client, refusal, 'failed') : void client.socket.destroy()
      }
      ticket.passed()
      if (project.sessions >= project.limit) {
        socket.destroy()
        return this.#refuse(client, projectFull(project.limit), 'refused')
      }
      project.sessions++
      project.users++
      leave()
      await this.#session(client, cluster, entry)
    } catch (error) {
      socket?.destroy()
      if (visit.signal.aborted) return ticket.failed(false)
      this.#options.log.warn({ err: error, project: target.ref }, 'wire: the cluster of a project did not answer')
      this.#refuse(client, unreachable, 'refused')
    } finally {
      visit.signal.removeEventListener('abort', abort)
      leave()
    }
  }

  async #session(client: Inbox, cluster: Inbox, entry: { hold: Hold; project: Project; keepIdle: boolean }): Promise<void> {
    const { hold, project, keepIdle } = entry
    this.#count('signed_in')
    const { ready, key } = await greet(client, cluster, hold.endpoint, this.#cancels, overQuota(hold.attached<Attachment & Quota>()))
    let forget = () => {}
    const splice = new Splice({
      client: client.socket,
      cluster: cluster.socket,
      now: this.#now,
      closed: () => {
        forget()
        key?.forget()
        this.#splices.delete(splice)
        project.sessions--
        this.#projects.leave(project)
        if (this.#splices.size === 0) this.#drained?.()
      },
    })
    this.#splices.add(splice)
    // The hold ends here: from now on the session counts by its statements only, or by being open where the project wants that.
    if (!client.socket.destroyed) {
      forget = hold.relax({
        lastActivity: () => splice.lastActivity,
        busy: () => splice.busy,
        end: (reason) => splice.end(ENDINGS[reason]),
        keepsAwake: keepIdle,
      })
    }
    splice.start(client.release(), cluster.release())
    if (!ready) cluster.socket.destroy()
    if (this.#closing) splice.end(ENDINGS.shutdown)
  }

  async close(grace = 0): Promise<void> {
    this.#closing = true
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const splice of this.#splices) splice.end(ENDINGS.shutdown)
    if (grace > 0 && this.#splices.size > 0) await this.#drain(grace)
    for (const splice of this.#splices) splice.destroy()
    // Those that were just told so get a moment to read it.
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, 500)
    await closed
    clearTimeout(timer)
  }

  #drain(grace: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, grace)
      this.#drained = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
