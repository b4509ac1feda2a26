import { command } from '../program/command.ts'

export const stop = command({
  use: 'stop',
  says: 'stop the server of this machine cleanly; the data stays',
  examples: ['sovra stop'],
  more: 'Requests that run are finished, then every cluster is stopped. Where systemd runs it: systemctl stop sovrabase.',
  async run(context) {
    const { stopServer } = await import('../api/background.ts')
    return context.spin('Stopping', stopServer)
  },
})
