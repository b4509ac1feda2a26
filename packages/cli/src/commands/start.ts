import { command } from '../program/command.ts'

export const start = command({
  use: 'start',
  says: 'run the server here, in the foreground',
  examples: ['sovra start', 'SOVRABASE_API_PORT=8081 sovra start'],
  more: 'It reads config.yaml of the working directory, else of the installation. Ctrl-C stops it; the data stays.',
  async run() {
    const { startServer } = await import('../api/local.ts')
    return startServer()
  },
})
