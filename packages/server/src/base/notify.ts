import { spawn } from 'node:child_process'

let last: Promise<void> = Promise.resolve()

const send = (states: readonly string[]) =>
  new Promise<void>((done) => {
    const sender = spawn('systemd-notify', states, { stdio: 'ignore', detached: true })
    sender.on('error', () => done()).on('exit', () => done())
    sender.unref()
  })

/**
 * Tells the service manager (sd_notify(3)), where one asks: READY=1, STOPPING=1, STATUS=… Node has no datagram sockets of the unix domain,
 * so systemd's own program sends it in our name, one after the other: READY=1 before RELOADING=1 would say that it reloads for ever. Never
 * a reason to fail.
 */
export function notifyManager(...states: readonly string[]): void {
  if (process.env.NOTIFY_SOCKET) last = last.then(() => send(states))
}

/** With the time by which the manager knows that it was this reload and no earlier one (CLOCK_MONOTONIC, as Node's hrtime is). */
export const notifyReloading = (): void => notifyManager('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
