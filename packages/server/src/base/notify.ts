import { spawn } from 'node:child_process'

/**
 * Tells the service manager (sd_notify(3)), where one asks: READY=1, STOPPING=1, STATUS=… Node has no datagram sockets of the unix domain,
 * so systemd's own program sends it in our name. Never a reason to fail.
 */
export function notifyManager(...states: readonly string[]): void {
  if (!process.env.NOTIFY_SOCKET) return
  spawn('systemd-notify', states, { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
