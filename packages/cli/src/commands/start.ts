import { command } from '../program/command.ts'

export const start = command<{ background?: boolean }>({
  use: 'start',
  says: 'run the server here, in the foreground',
  examples: ['sovra start', 'SOVRABASE_API_PORT=8081 sovra start --background'],
  flags: [['--background', 'return when it answers; `sovra stop` ends it']],
  more: 'It reads config.yaml of the working directory, else of the installation. Ctrl-C stops it; the data stays.',
  async run(context, { background }) {
    if (!background) return (await import('../api/local.ts')).startServer()
    const { startInBackground } = await import('../api/background.ts')
    return context.spin('Starting', startInBackground)
  },
})
