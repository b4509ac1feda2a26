import { makeClient } from '../api/client.ts'
import { readServers, withoutServer, writeServers } from '../api/servers.ts'
import { command } from '../program/command.ts'
import { CliError, stop } from '../terminal/errors.ts'

export const logout = command<object, [name?: string]>({
  use: 'logout [name]',
  says: 'forget a server, and revoke the token that the login made',
  examples: ['sovra logout', 'sovra logout prod'],
  async run(context, _options, given) {
    const known = readServers()
    const name = given ?? context.server ?? known.current
    if (name === null || name === undefined) return { data: { name: null, revoked: false }, text: 'You are not signed in anywhere.' }
    const server = Object.hasOwn(known.servers, name) ? known.servers[name] : undefined
    if (!server) throw stop('server_unknown', { name, known: Object.keys(known.servers).join(', ') || 'none' })
    let revoked = false
    if (server.token_id !== null) {
      try {
        await makeClient({ name, url: server.url, token: server.token }).request('DELETE', `/tokens/${server.token_id}`)
        revoked = true
      } catch (error) {
        // It is forgotten here in any case.
        if (!(error instanceof CliError)) throw error
        context.note(`warning: the token was not revoked: ${error.message}`)
      }
    }
    writeServers(withoutServer(known, name))
    return { data: { name, revoked }, text: `Signed out of ${name}.` }
  },
})
