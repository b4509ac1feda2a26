import { engineContract } from '../../engine.contract.ts'
import { openWorkshop, type Started } from './cluster.testing.ts'

engineContract('postgres', async () => {
  const workshop = await openWorkshop()
  const one = workshop.create()
  let started: Started | undefined
  return {
    engine: workshop.engine,
    service: one.service,
    async start() {
      started = await one.start()
      return started.at
    },
    stop: async () => await started?.stop(),
    close: () => workshop.close(),
  }
})
