import { ERRORS, type ErrorCode } from '@sovrabase/contract/errors'
import { fail, isSovraError, SovraError } from '../../../base/errors.ts'
import type { Usage } from '../../driver.ts'
import type { ExitListener, Hands, HandsFacts, Started, VolumeState } from './hands.ts'
import type { Pipe } from './pipes.ts'

/** The closed list: what the server may ask its keeper for. */
const ORDERS = [
  'volumes',
  'templates',
  'make',
  'copy',
  'move',
  'remove',
  'state',
  'disk',
  'usage',
  'memory',
  'start',
  'stop',
  'signal',
  'log',
  'init',
  'stage',
  'unfold',
  'promote',
  'pipe',
  'pack',
  'unpack',
] as const
type Order = (typeof ORDERS)[number]

interface Asked {
  readonly ask: number
  readonly order: string
  readonly args: readonly unknown[]
}
interface Answered {
  readonly answer: number
  readonly value?: unknown
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string }
}
interface Exited {
  readonly exited: string
  readonly detail: string
  readonly run: string
}

/** One end of the socketpair: a child process here, `process` there. */
export interface Channel {
  send(message: unknown): void
  on(listener: (message: unknown) => void): void
  onClose(listener: () => void): void
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const isAsked = (value: unknown): value is Asked =>
  isObject(value) && typeof value.ask === 'number' && typeof value.order === 'string' && Array.isArray(value.args)

/** The keeper's side: carries out the orders of the list; `hands` checks every argument. */
export function serveHands(channel: Channel, hands: Hands): void {
  const table: Record<Order, (...args: never[]) => Promise<unknown>> = hands
  channel.on(async (message) => {
    if (!isAsked(message)) return
    const { ask, order, args } = message
    try {
      if (!ORDERS.includes(order as Order)) throw fail('order_refused', { reason: 'not of the list' })
      channel.send({ answer: ask, value: await table[order as Order](...(args as never[])) } satisfies Answered)
    } catch (error) {
      const known = isSovraError(error) ? error : fail('internal', {}, { cause: error })
      if (known.code === 'internal') process.stderr.write(`keeper: ${order}: ${error instanceof Error ? error.stack : 'failed'}\n`)
      channel.send({ answer: ask, error: { code: known.code, message: known.message, hint: known.hint } } satisfies Answered)
    }
  })
  hands.onExit((exited, detail, run) => channel.send({ exited, detail, run } satisfies Exited))
}

/** The server's side. After the channel is gone every call rejects with `keeper_gone`. */
export function remoteHands(channel: Channel, facts: HandsFacts): Hands {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: SovraError) => void }>()
  const listeners: ExitListener[] = []
  let last = 0
  let gone = false

  channel.on((message) => {
    if (!isObject(message)) return
    if (typeof message.exited === 'string')
      for (const listener of listeners) listener(message.exited, String(message.detail), String(message.run))
    if (typeof message.answer !== 'number') return
    const { answer, value, error } = message as unknown as Answered
    const one = waiting.get(answer)
    waiting.delete(answer)
    if (error)
      one?.reject(new SovraError(Object.hasOwn(ERRORS, error.code) ? (error.code as ErrorCode) : 'internal', error.message, error.hint))
    else one?.resolve(value)
  })
  channel.onClose(() => {
    gone = true
    for (const one of waiting.values()) one.reject(fail('keeper_gone'))
    waiting.clear()
  })

  function ask(order: Order, ...args: readonly unknown[]): Promise<unknown> {
    if (gone) return Promise.reject(fail('keeper_gone'))
    return new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject })
      channel.send({ ask: last, order, args } satisfies Asked)
    })
  }

  return {
    facts,
    volumes: () => ask('volumes') as Promise<string[]>,
    templates: () => ask('templates') as Promise<string[]>,
    make: (volume, template) => ask('make', volume, template) as Promise<boolean>,
    copy: (from, to) => ask('copy', from, to) as Promise<void>,
    move: (from, to) => ask('move', from, to) as Promise<void>,
    remove: (volume) => ask('remove', volume) as Promise<void>,
    state: (volume) => ask('state', volume) as Promise<VolumeState>,
    disk: (volume) => ask('disk', volume) as Promise<number>,
    usage: (volume) => ask('usage', volume) as Promise<Usage>,
    memory: (volume) => ask('memory', volume) as Promise<number>,
    start: (order) => ask('start', order) as Promise<Started>,
    stop: (volume) => ask('stop', volume) as Promise<void>,
    signal: (volume, signal) => ask('signal', volume, signal) as Promise<void>,
    log: (volume, bytes) => ask('log', volume, bytes) as Promise<string>,
    init: (volume, command, environment, input = '') => ask('init', volume, command, environment, input) as Promise<string>,
    stage: (from, to, files) => ask('stage', from, to, files) as Promise<void>,
    unfold: (volume, inner) => ask('unfold', volume, inner) as Promise<void>,
    promote: (volume, template) => ask('promote', volume, template) as Promise<void>,
    pipe: () => ask('pipe') as Promise<Pipe>,
    pack: (volume, pipe) => ask('pack', volume, pipe) as Promise<void>,
    unpack: (volume, pipe) => ask('unpack', volume, pipe) as Promise<void>,
    onExit: (listener) => void listeners.push(listener),
    // The keeper ends what still runs when the server has ended.
    close: async () => {},
  }
}
