import { LOCAL, readServers, writeServers } from '../api/servers.ts'
import { command, type Group } from '../program/command.ts'
import { stop } from '../terminal/errors.ts'
import { table } from '../terminal/output.ts'

const list = command({
  use: 'list',
  says: 'the servers that you have signed in to; * is the one that commands go to',
  examples: ['sovra servers list'],
  run() {
    const { current, servers } = readServers()
    const all = [
      { name: LOCAL, url: null, email: null, current: current === null },
      ...Object.entries(servers).map(([name, { url, email }]) => ({ name, url, email, current: current === name })),
    ]
    const rows = all.map((server) => [server.current ? '*' : '', server.name, server.url ?? 'this machine', server.email])
    return { data: all, text: table(['', 'NAME', 'URL', 'AS'], rows) }
  },
})

const use = command<object, [name: string]>({
  use: 'use <name>',
  says: 'let commands go to this server; `local` is this machine',
  examples: ['sovra servers use prod', 'sovra servers use local'],
  run(_context, _options, name) {
    const known = readServers()
    if (name !== LOCAL && !Object.hasOwn(known.servers, name))
      throw stop('server_unknown', { name, known: [LOCAL, ...Object.keys(known.servers)].join(', ') })
    writeServers({ ...known, current: name === LOCAL ? null : name })
    return { data: { current: name }, text: `Commands go to ${name} now.` }
  },
})

export const servers: Group = { name: 'servers', says: 'the servers that you work with', commands: [list, use] }
